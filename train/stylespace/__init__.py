"""Pictures of people who do not exist, with their expressions edited in the generator's StyleSpace.

Source of the method: Wu et al., "StyleSpace Analysis", CVPR 2021. Imports `engines` and nothing of `train`.
"""
