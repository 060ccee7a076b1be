"""The paper's baselines of figure 6, on discrete emotions."""
