"""The run-time type checker of the tests: an int is a float too, as in PEP 484."""

from beartype import BeartypeConf, beartype

checker = beartype(conf=BeartypeConf(is_pep484_tower=True))
