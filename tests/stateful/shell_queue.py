"""Slots, memory and tokens as the shell uses them (`jobs._execute`): a part of the model in `shell`."""

from __future__ import annotations

from collections import deque
from typing import final

from headstart_worker.memory import Memory
from headstart_worker.slots import Slots
from stateful.shell_parts import Compiler


@final
class Queue:
    """Who waits for a slot, who holds one, and where the tokens are."""

    def __init__(self, *, capacity: int, budget: int | None) -> None:
        """Nobody waits. See `Slots` and `Memory`."""
        self._capacity = capacity
        self._budget = budget
        self._memory = None if budget is None else Memory(budget)
        self._slots = Slots(capacity, self._memory)
        self._queue: list[Compiler] = []
        self._holders: dict[Compiler, int] = {}
        self._tokens = capacity
        self._token_queue: deque[Compiler] = deque()

    # Slots

    def ask(self, compiler: Compiler, *, early: bool) -> None:
        """It waits for a slot from now on; early: and somebody for its early outputs."""
        compiler.expedited = early
        self._slots.ask(compiler.number, early=early, kind=compiler.kind)
        self._queue.append(compiler)
        self._admit()

    def expedite(self, compiler: Compiler) -> None:
        """Somebody waits for its early outputs now."""
        compiler.expedited = True
        self._slots.expedite(compiler.number)

    def has_slot(self, compiler: Compiler) -> bool:
        """True when it may start as far as slots go."""
        return compiler in self._holders

    def leave(self, compiler: Compiler) -> None:
        """It has ended, or never began: others may have what it had."""
        if compiler in self._token_queue:
            self._token_queue.remove(compiler)
        if compiler.has_token:
            self._put_token_back(compiler)
        if compiler in self._queue:
            self._queue.remove(compiler)
        self._holders.pop(compiler, None)
        self._slots.withdraw(compiler.number)
        if self._memory is not None:
            self._memory.learn(compiler.kind, compiler.peak, ok=compiler.ok)
        self._admit()

    def _first(self) -> Compiler:
        return min(self._queue, key=lambda c: (not c.next, not c.expedited, c.number))

    def _admit(self) -> None:
        for number, slot in self._slots.admit():
            compiler = self._first()
            assert number == compiler.number, "the slot was another's"
            self._queue.remove(compiler)
            assert slot not in self._holders.values(), "a slot was given twice"
            self._holders[compiler] = slot
        if self._queue and len(self._holders) < self._capacity:
            self._first().next = True

    # Tokens (`jobserver`)

    def wait_for_token(self, compiler: Compiler) -> None:
        """It has a slot, and waits for a token behind those that came before."""
        self._token_queue.append(compiler)

    def is_next(self, compiler: Compiler) -> bool:
        """True when there is a token for it."""
        return self._tokens > 0 and self._token_queue[0] is compiler

    def take(self, compiler: Compiler) -> None:
        """It takes its token."""
        assert self._token_queue.popleft() is compiler
        self._tokens -= 1
        compiler.has_token = True

    def take_another(self, compiler: Compiler) -> None:
        """One more thread of it generates code, if there is a token."""
        if self._tokens:
            self._tokens -= 1
            compiler.codegen += 1

    def give_back(self, compiler: Compiler) -> None:
        """It ended in good order, and put back what it had taken itself."""
        self._tokens += compiler.codegen

    def _put_token_back(self, compiler: Compiler) -> None:
        compiler.has_token = False
        self._tokens += 1
        if not any(holder.has_token for holder in self._holders):
            self._tokens = self._capacity  # what killed compilers took with them

    # What must hold

    def check(self, running: int) -> None:
        """After every step, when so many compilers run."""
        assert running <= self._slots.running == len(self._holders) <= self._capacity
        assert 0 <= self._tokens <= self._capacity
        assert self._slots.waiting == len(self._queue)
        if self._queue and self._slots.running < self._capacity:
            assert self._memory is not None, "a slot is free and somebody waits"
            assert self._budget is not None
            assert self._holders, "nothing runs and somebody waits"
            need = self._memory.need(self._first().kind)
            assert self._memory.taken + need > self._budget, "it would fit"

    def check_quiet(self) -> None:
        """When nothing runs and nobody waits: everything is there again, and nothing else."""
        assert self._tokens == self._capacity
        assert self._memory is None or not self._memory.taken
        assert not self._slots._holders
        assert not self._slots._queue
        assert sorted(self._slots._free) == list(range(self._capacity))
