import numpy as np
import torch

weights = torch.load("weights.pt", map_location="cpu", weights_only=True)
table = np.load("table.npy")
