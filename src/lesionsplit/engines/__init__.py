"""What runs the network: torch, or ONNX Runtime or OpenVINO on a file that was exported for them."""
