"""Ensembles: several trained networks that answer as one, by the mean of their probabilities.

Of seeds, of recipes or of moments of one run; members may see different features of an image. The errors that they
don't share cancel (Hansen & Salamon 1990, "Neural network ensembles").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fnn import checkpoint
from fnn.errors import UserError
from fnn.files import plain
from fnn.rundir import Model, blank, described, load_model, record_of, with_record

MEMBERS = "members"


def combine(path: Path, sources: Sequence[Path]) -> tuple[Model, ...]:
    """Save the models and the members of the ensembles in some files as one ensemble, and return its members.

    Raises UserError for models that tell different classes apart.
    """
    found = [(source, member) for source in sources for member in load_members(source)]
    members = tuple(member for _, member in found)
    first = members[0]
    for source, member in found:
        if (member.class_names, member.config.dataset) != (first.class_names, first.config.dataset):
            raise UserError(
                f"{source}: expected a model of {first.config.dataset} like {sources[0]}, "
                f"found one of {member.config.dataset}"
            )
    record = {_key(number): record_of(member) for number, member in enumerate(members)}
    checkpoint.save(path, record, plain({MEMBERS: [described(member) for member in members]}))
    return members


def load_members(path: Path) -> tuple[Model, ...]:
    """Load the members of an ensemble, or the one model of a run; raises CheckpointError or UserError otherwise."""
    return checkpoint.newest(path, _read_members)


def _read_members(path: Path) -> tuple[Model, ...]:
    described_members = checkpoint.read_metadata(path).get(MEMBERS)
    if not isinstance(described_members, list) or not described_members:
        return (load_model(path),)
    members = [blank(metadata, path) for metadata in described_members]
    promised = sum(member.params.theta.nbytes for member in members)
    if promised > path.stat().st_size:
        raise UserError(f"{path}: expected the parameters of {len(members)} networks, found fewer")
    records = checkpoint.load(path, {_key(number): record_of(member) for number, member in enumerate(members)})
    return tuple(with_record(member, records[_key(number)]) for number, member in enumerate(members))


def _key(number: int) -> str:
    return f"member-{number}"
