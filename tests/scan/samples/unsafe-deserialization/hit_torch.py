import numpy as np
import torch

weights = torch.load("weights.pt", map_location="cpu", weights_only=False)  # hit: unsafe-deserialization
table = np.load("table.npy", allow_pickle=True)  # hit: unsafe-deserialization
