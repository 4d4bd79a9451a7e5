"""Faults of a perceptron on the digits; `digits` says why each label holds."""

from experiments.diagnosis.planting.cases import descent
from experiments.diagnosis.planting.digits import Kind, plants

KIND = Kind(
    name="digits-mlp", width=32, depth=2, deep=8, num=800, steps=150, rule=descent, rate=0.5, batch_size=None,
    deep_rate=0.1, noisy_rate=0.05, too_high=(5.0, 100.0), decays=(0.03, 0.1), small=(0.5, 0.2), large=(2.0, 4.0),
)  # fmt: skip
PLANTS = plants(KIND)
