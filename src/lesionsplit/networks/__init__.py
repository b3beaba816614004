"""Networks: `torch.nn.Module` only; no loss, no file, no training."""
