"""Who may come in: a bundle is opened, or taken opened, only if somebody who is trusted vouches for it."""

from __future__ import annotations

import os

from cmc_sdk.bundle.reader import Bundle, open_bundle
from cmc_sdk.bundle.trust import Trust, Verdict, require_trust
from cmc_sdk.errors import TrustError

__all__ = ["admit"]


def admit(bundle: str | os.PathLike[str] | Bundle, *, trust: Trust | None) -> tuple[Bundle, Verdict]:
    """Open a bundle if somebody who is trusted vouches for it, or take one that was opened so.

    Args:
        bundle: The folder `NAME.cmc`, or a bundle that was opened with a policy.
        trust: A trust store or its path; `development`, to take a bundle whoever made it; None: the store that the
            environment variable `CMC_TRUST` names. Of an opened bundle, it must be None: it was judged when opened.

    Returns:
        The bundle, and who vouches for it.

    Raises:
        TrustError: Nobody who is trusted vouches for it, no trust was named, or it was opened without asking.
        BundleError: It is not what it says.
    """
    if not isinstance(bundle, Bundle):
        bundle = open_bundle(bundle, policy=require_trust(trust))
    elif trust is not None:
        raise TrustError(f"{bundle.path} was judged when it was opened", mend="leave trust out, or give its path")
    if bundle.verdict is None:
        raise TrustError(f"{bundle.path} was opened without asking who vouches for it", mend="give its path and trust=")
    return bundle, bundle.verdict
