"""Trainings as people have them: reported faults, each sick and mended, and sound ones that look suspicious."""

from experiments.diagnosis.field import data, layers, outputs, rules, sound
from experiments.diagnosis.field.programs import PROGRAMS, Program, Setup

__all__ = ["PROGRAMS", "Program", "Setup", "data", "layers", "outputs", "rules", "sound"]
