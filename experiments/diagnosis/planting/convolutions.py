"""Faults of a convolutional network on the digits; `digits` says why each label holds."""

from experiments.diagnosis.planting.cases import adam
from experiments.diagnosis.planting.digits import Kind, plants

KIND = Kind(
    name="digits-convnet", width=8, depth=2, deep=4, num=500, steps=100, rule=adam, rate=0.02, batch_size=64,
    deep_rate=0.3, noisy_rate=0.1, too_high=(0.5, 10.0), decays=(0.6, 2.0), small=(0.25, 0.05), large=(4.0, 10.0),
)  # fmt: skip
PLANTS = plants(KIND)
