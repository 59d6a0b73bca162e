"""What a trained network must be compared with: the same network before training."""

from vpr_ros.student import D2VPR, DescriptorExtractor


def untrained_copy(extractor: DescriptorExtractor, seed: int = 0) -> DescriptorExtractor:
    """An extractor of the same architecture and input with random weights and no projection.

    Descriptors of an untrained network can tell pictures apart; a figure that it reaches too shows no training.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = D2VPR(extractor.model.config).eval()
    return DescriptorExtractor(model, device=str(extractor.device), name=f"{extractor.name} untrained")
