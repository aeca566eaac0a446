"""The openly licensed type families whose drawings make up the data set `glyphs`.

Every file is named by a pattern, so that a package which later grows a face does not silently
change the data. Left out on purpose: Manrope's variable font (its default is a weight that is
there already), DejaVu's two Display faces (under 50 characters), STIX's size and private-use faces
and Computer Modern (not encoded as Unicode).
"""

import dataclasses
import importlib.metadata
import importlib.util
import pathlib

from abe_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TypeFamily:
    """A type family: one design in several styles, with where it comes from and its licence."""

    name: str
    distribution: str  # what pip installs
    package: str  # what Python imports, or rather finds
    pattern: str  # of the font files, below the package's folder
    licence: str  # as an SPDX identifier, LicenseRef- where SPDX has none


@dataclasses.dataclass(frozen=True, kw_only=True)
class Style:
    """One font file: a family at one weight, upright or slanted."""

    family: str
    name: str
    path: str


def _pip(name: str, package: str, pattern: str, licence: str = "OFL-1.1") -> TypeFamily:
    return TypeFamily(
        name=name,
        distribution=package.replace("_", "-"),
        package=package,
        pattern=f"files/{pattern}",
        licence=licence,
    )


def _matplotlib(name: str, pattern: str, licence: str) -> TypeFamily:
    return TypeFamily(
        name=name,
        distribution="matplotlib",
        package="matplotlib",
        pattern=f"mpl-data/fonts/ttf/{pattern}",
        licence=licence,
    )


# The licences are those of the font files themselves, as their name tables and the licence texts
# beside them state; the wrapping package of Red Hat Display is MIT, its fonts are OFL. Bitstream
# Vera's licence covers DejaVu; the STIX licence is modelled on the OFL and bears its own name.
FAMILIES: tuple[TypeFamily, ...] = (
    _pip("Amatic SC", "font_amatic_sc", "AmaticSC-*.ttf"),
    _pip("Caladea", "font_caladea", "Caladea-*.ttf", "Apache-2.0"),
    _pip("Fjalla One", "font_fjallaone", "FjallaOne-Regular.ttf"),
    _pip("Fredoka One", "font_fredoka_one", "FredokaOne-Regular.ttf"),
    _pip("Hanken Grotesk", "font_hanken_grotesk", "HankenGrotesk-*.otf"),
    _pip("Intuitive", "font_intuitive", "Intuitive.ttf"),
    _pip("Lato", "font_lato", "Lato-*.ttf"),
    _pip("Manrope", "font_manrope", "Manrope-[!V]*.ttf"),
    _pip("Red Hat Display", "font_rhd", "RedHatDisplay-*.ttf"),
    _pip("Roboto", "font_roboto", "Roboto-*.ttf", "Apache-2.0"),
    _pip("Source Sans Pro", "font_source_sans_pro", "SourceSansPro-*.ttf"),
    _pip("Source Serif Pro", "font_source_serif_pro", "SourceSerifPro-*.ttf"),
    _matplotlib("DejaVu Sans", "DejaVuSans[-.]*", "Bitstream-Vera"),
    _matplotlib("DejaVu Sans Mono", "DejaVuSansMono*.ttf", "Bitstream-Vera"),
    _matplotlib("DejaVu Serif", "DejaVuSerif[-.]*", "Bitstream-Vera"),
    _matplotlib("STIX", "STIXGeneral*.ttf", "LicenseRef-STIX-Font-License-2010"),
)


def styles(families: tuple[TypeFamily, ...]) -> tuple[Style, ...]:
    """The font files of some families, in a fixed order.

    Raises `UserError` that names the pip extra when a family's package is not installed.
    """
    installed, missing = [], []
    for family in families:
        paths = _font_files(family)
        if not paths:
            missing.append(family.distribution)
        installed += [Style(family=family.name, name=p.stem, path=str(p)) for p in paths]
    if missing:
        raise UserError(
            f"glyphs needs the fonts of {', '.join(dict.fromkeys(missing))}: "
            "pip install 'abe_jax[quickstart]'"
        )
    return tuple(installed)


def _font_files(family: TypeFamily) -> list[pathlib.Path]:
    # find_spec does not import: the packages hold nothing but files.
    spec = importlib.util.find_spec(family.package)
    if spec is None or not spec.submodule_search_locations:
        return []
    return sorted(pathlib.Path(spec.submodule_search_locations[0]).glob(family.pattern))


def provenance(families: tuple[TypeFamily, ...]) -> dict[str, dict[str, str]]:
    """Licence, package and version of each family, for the data set's metadata."""
    return {
        family.name: {
            "licence": family.licence,
            "distribution": family.distribution,
            "version": importlib.metadata.version(family.distribution),
        }
        for family in families
    }
