"""The rules of proto3's JSON mapping, as far as the worker protocol needs them; not the messages themselves.

https://protobuf.dev/programming-guides/json/ tells the rules. What a correct host may send is accepted in each of its
spellings; digests are laxer still, because hosts fill them with all sorts of things and nothing depends on their form.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import Any, Final, NoReturn, Self, final

from attrs import frozen

from headstart_wrapper.errors import ProtocolError

INT32_MIN: Final = -(2**31)
INT32_MAX: Final = 2**31 - 1
_DECIMAL: Final = re.compile(r"-?[0-9]{1,10}")
_SNAKE_CASE: Final = {
    "requestId": "request_id",
    "sandboxDir": "sandbox_dir",
    "exitCode": "exit_code",
    "wasCancelled": "was_cancelled",
}
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


@final
@frozen
class Fields:
    """A JSON object read by proto3's rules: camelCase or snake_case names, null for absent, each value checked.

    Every method takes the camelCase name, gives the default for an absent value, and raises `ProtocolError` with the
    message's kind and id for a value of another type.

    Attributes:
        whose: the message, for errors.
        values: as the JSON parser gave them.
    """

    whose: str
    values: dict[str, Any]

    @classmethod
    def parse(cls, kind: str, payload: bytes | str) -> Self:
        """Reads one object in UTF-8.

        Raises:
            ProtocolError: it is no JSON, or no object.
        """
        try:
            # Decoded here: json would guess an encoding from the first bytes.
            values = json.loads(payload if isinstance(payload, str) else payload.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ProtocolError(
                f"a {kind} of {len(payload)} bytes cannot be read as JSON ({error}); the host sends something else, "
                "or another program writes to this stream"
            ) from None
        if not isinstance(values, dict):
            raise ProtocolError(
                f"a {kind} is a JSON {type(values).__name__} where an object belongs; correct the host"
            )
        fields = cls(f"a {kind}", values)
        return cls(f"the {kind} {fields.int32('requestId')}", values)

    def int32(self, name: str) -> int:
        """An integer of 32 bits: a number without a fraction, or its digits in a string."""
        value = self._get(name)
        if value is None:
            return 0
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self._refuse(name, "an integer")
        if not INT32_MIN <= value <= INT32_MAX:
            self._refuse(name, "an integer of 32 bits")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            self._refuse(name, "true or false")
        return value

    def text(self, name: str) -> str:
        """Text that UTF-8 can carry."""
        value = self._get(name)
        return "" if value is None else self._checked_text(name, value)

    def texts(self, name: str) -> list[str]:
        """A list of such texts."""
        return [self._checked_text(name, each) for each in self._array(name)]

    def objects(self, name: str) -> list[Fields]:
        """A list of objects."""
        array = self._array(name)
        if not all(isinstance(each, dict) for each in array):
            self._refuse(name, "a list of objects")
        whose = f"{name} of {self.whose}"
        return [Fields(whose, each) for each in array]

    def digest(self, name: str) -> bytes:
        """Never refuses: a digest is opaque, and what is not base64 stands for itself."""
        value = self._get(name)
        if value is None:
            return b""
        raw = (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")
        try:
            # Both alphabets, padded or not.
            return binascii.a2b_base64(raw.translate(_URL_SAFE) + b"=" * (-len(raw) % 4), strict_mode=True)
        except binascii.Error:
            return raw

    def _get(self, name: str) -> Any:
        value = self.values.get(name)
        return value if value is not None else self.values.get(_SNAKE_CASE.get(name, name))

    def _array(self, name: str) -> list[Any]:
        value = self._get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self._refuse(name, "a list")
        return value

    def _checked_text(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            self._refuse(name, "text")
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                self._refuse(name, "Unicode text (it holds half of a surrogate pair)")
        return value

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        raise ProtocolError(
            f"{name} in {self.whose} is not {wanted}; correct the host, or whatever stands between"
        )
