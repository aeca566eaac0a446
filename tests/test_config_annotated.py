"""What a config asks of annotations and the images do not have is one line, before training."""

import dataclasses

import inshop_data
import numpy as np
import pytest
from processes import ROOT

from abe_jax import config
from abe_jax.config import annotated, build
from abe_jax.config.resume import as_begun
from abe_jax.data import Dataset, Split
from abe_jax.data.annotations import Annotations
from abe_jax.errors import UserError

N, K, A, KINDS = 6, 8, 4, 4
KNOWN = Annotations(
    points=np.zeros((N, K, 3), np.float32),
    categories=np.arange(N, dtype=np.int32) % KINDS,
    attributes=np.arange(N * A).reshape(N, A) % 3 == 0,
)
TERMS = f"objective={list(inshop_data.TERMS)}"


def split(known: Annotations | None = KNOWN) -> Split:
    labels = np.arange(N, dtype=np.int32) // 2
    names = ("a", "b", "c")
    return Split(
        name="train", records=[b""] * N, labels=labels, class_names=names, annotations=known
    )


def made(*overrides: str) -> config.Config:
    return config.load(ROOT / "tests" / "tiny_config.py", [*inshop_data.SMALL, TERMS, *overrides])


def test_what_fits_is_let_pass() -> None:
    annotated.check(made(), split(), ())
    plain = made("model.kind=single", "objective=[{'name':'contrastive'}]")
    annotated.check(plain, split(None), ())
    given = made(*GIVEN, "evaluate.grains=True", "evaluate.copies=0")
    annotated.check(given, split(), (split(),))


GIVEN = ("model.fashion.pooled_at=given", "objective=[{'name':'category'}]")


@pytest.mark.parametrize(
    ("overrides", "known", "told"),
    [
        (("model.kind=single",), KNOWN, "config.model.kind 'single' predicts nothing; set it to"),
        (("model.fashion.pooled_at=given",), KNOWN, "given points predicts none; leave it out"),
        ((), None, "the images of train come without points; delete what is"),
        ((), KNOWN._replace(categories=None), "needs the categories of images"),
        ((), KNOWN._replace(attributes=None), "needs the attributes of images"),
        (("model.fashion.landmarks=6",), KNOWN, "landmarks: 6, but the images of train have 8 poi"),
        (("model.fashion.categories=3",), KNOWN, "categories: 3, but the images have 4 categories"),
        (("model.fashion.attributes=9",), KNOWN, "attributes: 9, but the images have 4 attributes"),
        (GIVEN, KNOWN._replace(points=None), "the images of train come without points"),
        (
            (*GIVEN, "data.name=folder"),
            KNOWN._replace(points=None),
            "train come without points; set config.data.points_column to",
        ),
        (
            (*GIVEN, "data.name=glyphs"),
            KNOWN._replace(points=None),
            r"config\.model\.fashion\.pooled_at .* take images that have some",
        ),
        (
            ("data.name=folder",),
            KNOWN._replace(categories=None),
            r"of folder come without; leave it out$",
        ),
        (
            (*GIVEN, "data.sources=('x',)"),
            KNOWN._replace(points=None),
            "train come without points; leave config.data.sources empty",
        ),
        ((*GIVEN, "evaluate.grains=True"), KNOWN, "config.evaluate.copies: 100, but altered copi"),
        ((*GIVEN, "evaluate.whiten_path=x"), KNOWN, "config.evaluate.whiten_path: photographs in"),
    ],
)
def test_what_does_not_is_one_line(
    overrides: tuple[str, ...], known: Annotations | None, told: str
) -> None:
    with pytest.raises(UserError, match=told) as caught:
        annotated.check(made(*overrides), split(known), ())
    assert "\n" not in str(caught.value) and "config." in str(caught.value)


def test_options_of_another_kind_are_refused() -> None:
    with pytest.raises(UserError, match=r"config\.model\.fashion: options of kind 'fashion_net'"):
        build.model(made("model.kind=single").model)


def test_options_are_told_by_their_full_names() -> None:
    with pytest.raises(UserError, match=r"^config\.model\.fashion\.pooled_at: .*'predicted'"):
        build.model(made("model.fashion.pooled_at=predictd").model)
    with pytest.raises(UserError, match=r"^config\.stages: stage 0 has 2 factors for 5 terms"):
        build.objective(made("stages=[{'factors':(1.0,2.0)}]"))


def test_shares_are_counted_once_and_kept() -> None:
    counted = annotated.with_shares(made(), Dataset.of_splits(split()))
    assert KNOWN.attributes is not None
    assert counted.data.attribute_shares == tuple(KNOWN.attributes.mean(axis=0).tolist())
    others = Dataset.of_splits(split(KNOWN._replace(attributes=~KNOWN.attributes)))
    assert annotated.with_shares(counted, others) == counted
    assert as_begun(made(), counted).data.attribute_shares == counted.data.attribute_shares
    assert build.objective(counted).attribute_shares == counted.data.attribute_shares
    terms = tuple(term for term in made().objective if term.name != "attributes")
    without = dataclasses.replace(made(), objective=terms)
    assert annotated.with_shares(without, others) == without
