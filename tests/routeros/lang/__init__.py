"""An interpreter of the RouterOS scripting language, for tests.

``parse(source, schema)`` gives a tree or raises ParseError; ``Interpreter(host, schema)``
runs scripts on anything that implements ``host.Host``. What is known of the language and
where it comes from is in ``README.md`` beside this file.
"""

from tests.routeros.lang.errors import ParseError, RscError, RuntimeFault
from tests.routeros.lang.evaluator import Interpreter
from tests.routeros.lang.host import CommandCall, Host
from tests.routeros.lang.parser import parse
from tests.routeros.lang.schema import CommandSpec, Schema

__all__ = [
    "CommandCall",
    "CommandSpec",
    "Host",
    "Interpreter",
    "ParseError",
    "RscError",
    "RuntimeFault",
    "Schema",
    "parse",
]
