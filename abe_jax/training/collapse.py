"""Warnings about a training that runs but does not learn."""

from abe_jax.losses.contrastive import Contrastive
from abe_jax.training.recipe import Recipe

COLLAPSE = 0.95  # mean cosine between learners; ABE-8 without divergence ends near it
STUCK = 0.02  # share of the margin within which all distances lie
ONE_POINT = 0.002  # squared distance of unit vectors below which they are one point


def warnings(recipe: Recipe, values: dict[str, float]) -> list[str]:
    """What the metrics of a step give reason to warn of, with the figures.

    Learners whose vectors of one image all agree have collapsed into one. A loss that sticks at
    the margin is what is left when every image lies on one point: each negative pair then costs
    the whole margin and each positive pair nothing. Other losses end on one point as well: the
    hardest triplets of a batch do, from random weights (Schroff et al., FaceNet, CVPR 2015, 3.2).
    """
    raised = []
    cosine = values.get("cosine")
    if recipe.model.learners > 1 and cosine is not None and cosine > COLLAPSE:
        raised.append(
            f"the learners collapse: their mean cosine on the same image is {cosine:.3f} "
            f"(warned above {COLLAPSE}); raise the weight of the divergence loss"
        )
    margins = [term.margin for term in recipe.objective.terms if isinstance(term, Contrastive)]
    negative = values.get("negative_distance")
    if margins and negative is not None and negative < STUCK * margins[0]:
        raised.append(
            f"the loss sticks at the margin: negative pairs are {negative:.4f} apart where "
            f"{margins[0]} is asked "
            f"(contrastive {values.get('contrastive', float('nan')):.4f}); lower optimizer.rate"
        )
    elif negative is not None and negative < ONE_POINT:
        raised.append(
            f"the embedding collapses: negative pairs are {negative:.1g} apart, of at most 4; "
            "mine easier negatives at first (triplet: all or "
            "semi_hard), or lower optimizer.rate"
        )
    return raised
