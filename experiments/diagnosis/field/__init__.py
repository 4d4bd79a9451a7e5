"""Trainings as people have them: reported faults, each sick and mended, and sound ones that look suspicious."""

from experiments.diagnosis.field import data, layers, modes, outputs, rules, sequences, sound, sound_networks
from experiments.diagnosis.field.programs import PROGRAMS, Program, Setup

__all__ = [
    "PROGRAMS",
    "Program",
    "Setup",
    "data",
    "layers",
    "modes",
    "outputs",
    "rules",
    "sequences",
    "sound",
    "sound_networks",
]
