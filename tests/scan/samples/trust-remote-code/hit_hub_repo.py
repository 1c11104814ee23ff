import torch

encoder = torch.hub.load("acme/vision", "encoder", skip_validation=True, trust_repo=True)  # hit: trust-remote-code, unpinned-model
