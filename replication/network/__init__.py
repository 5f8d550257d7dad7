"""The network: geometry as data, ResNet, ASPP, DeepLabv3, weights."""
