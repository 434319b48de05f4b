"""Temporary adapters are made beside the model's thread, one at a time, and only as long as somebody wants them."""

import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from core.errors import UserError
from core.serve.mixes import Mix, Mixes, Plan


class Wish(Protocol):
    """Who waits for a mix. All but `wanted` and `tell` is called in the model's thread."""

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits."""

    def tell(self, **event: Any) -> None:
        """Say how far it is."""

    def use(self, mix: Mix) -> None:
        """Here it is."""

    def refuse(self, why: str) -> None:
        """It can't be made."""


class NobodyWaits(Exception):
    """Breaks a merge off."""


class Making:
    """Makes mixes; `run` hands what must be done in the model's thread over to it."""

    def __init__(self, mixes: Mixes, run: Callable[[Callable[[], None]], None]) -> None:
        self.mixes = mixes
        self._run = run
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="merging")
        self._ending = False

    def make(self, plan: Plan, wish: Wish) -> None:
        """Grant the wish: at once if nothing must be merged for it."""
        try:
            mix = self.mixes.made(plan)
        except UserError as error:  # replaced since it was planned
            wish.refuse(str(error))
            return
        if mix:
            wish.use(mix)
        else:
            self._pool.submit(self._work, plan, wish)

    def end(self) -> None:
        """Break off what is being made."""
        self._ending = True
        self._pool.shutdown(cancel_futures=True)

    def _work(self, plan: Plan, wish: Wish) -> None:
        def progress(done: float, total: float, *_: Any) -> None:
            if self._ending or not wish.wanted:
                raise NobodyWaits
            wish.tell(merging=done / total)

        try:
            progress(0, 1)
            mix = self.mixes.make(plan, progress)
        except NobodyWaits:
            return
        except UserError as error:
            why = str(error)
            self._run(lambda: wish.refuse(why))
        except Exception as error:
            traceback.print_exc()
            why = f"The mix could not be made ({type(error).__name__}: {error}). This is a bug; its traceback is in results/.engine.log"
            self._run(lambda: wish.refuse(why))
        else:
            self._run(lambda: wish.use(mix))
