"""Switches of torch that belong to the user: gradients, inference, devices."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def gradients() -> Iterator[None]:
    """Let autograd work, whatever mode surrounds the fit, and restore that mode.

    Modules and tensors that are trained have to be made inside: one that is made in
    inference mode has no gradient for good.
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield


def check_device(device: str) -> None:
    """Refuse a device that torch does not know or cannot compute on here."""
    try:
        torch.ones(1, device=device).cpu().numpy()
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ValueError(
            f"device={device!r} cannot be used here: {reason}. Use device='cpu', or a "
            "device that torch finds on this machine."
        ) from error
