"""Trainings as people have them: reported faults, each sick and mended, and sound ones that look suspicious."""

from experiments.diagnosis.field import (
    data,
    layers,
    losses,
    modes,
    outputs,
    rules,
    sequences,
    sound,
    sound_networks,
    starts_and_steps,
)
from experiments.diagnosis.field.programs import PROGRAMS, Program, Setup

__all__ = [
    "PROGRAMS",
    "Program",
    "Setup",
    "data",
    "layers",
    "losses",
    "modes",
    "outputs",
    "rules",
    "sequences",
    "sound",
    "sound_networks",
    "starts_and_steps",
]
