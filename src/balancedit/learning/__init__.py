"""Training an edit's tensors: the plain loop, thin factors, the short way along an answer."""
