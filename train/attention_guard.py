"""Attention's guard: keeps mean(A) of edits within a band by acting on the weight that presses on it.

GANimation's best-known failure: A saturates at 1 and the output equals the input; the opposite one: colour
repaints the face. A term on mean(1 - A) presses A up, one on mean(A) presses it down; the guard halves or
doubles the weight of whichever is used.
"""

from dataclasses import dataclass

# Beyond, the weight is not the cause: wrong labels are, or the learning rate
SMALLEST, LARGEST = 1 / 64, 64.0


@dataclass
class AttentionGuard:
    """`factor` multiplies the weight of a recipe's term on attention; it is part of a checkpoint."""

    low: float = 0.70  # of mean(A) over edits: below, colour repaints the face
    high: float = 0.997  # above, edits are copies of the photo
    presses_up: bool = True  # the term is on mean(1 - A); False: on mean(A)
    rests_until: int = 0  # steps during which the weight still rises from 0, and is not adjusted
    factor: float = 1.0

    def adjust(self, attention: float, step: int) -> str | None:
        """Adjusts `factor` when mean(A) leaves the band.

        Args:
            attention: mean(A) of held-out edits.
            step: of the run.

        Returns:
            What was done, as a sentence; None within the band and before `rests_until`.
        """
        if step < self.rests_until:
            return None
        if self.low <= attention <= self.high:
            return None
        closed, before = attention > self.high, self.factor
        change = 0.5 if closed == self.presses_up else 2.0
        self.factor = min(max(before * change, SMALLEST), LARGEST)
        fault = (
            f"above {self.high:g}: the generator is learning to copy"
            if closed
            else f"below {self.low:g}: colour repaints the face"
        )
        hint = "check the AU labels" if closed else "lower --rate"
        if self.factor == before:
            return (
                f"mean(A) is {attention:.4f}, {fault}, and the weight of its term is at its bound "
                f"(x {self.factor:g}): {hint}."
            )
        return f"mean(A) is {attention:.4f}, {fault}; the weight of its term is now x {self.factor:g}."
