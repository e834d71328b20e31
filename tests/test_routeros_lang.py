"""The language: what scripts print, what they refuse, what they can and cannot catch."""

from __future__ import annotations

import pytest

from tests.routeros.lang import (
    CommandCall,
    CommandSpec,
    Interpreter,
    ParseError,
    RuntimeFault,
    Schema,
    parse,
)
from tests.routeros.lang.catalogue import BUILTINS, available
from tests.routeros.lang.values import NOTHING, Array, Id, Value, to_str


class TinyHost:
    """A machine with one menu, /thing, three items in it, and a clock that only delays move."""

    def __init__(self) -> None:
        self.globals: dict[str, Value] = {}
        self.error_suffix = False
        self.printed: list[str] = []
        self.clock = 0
        self.calls: list[CommandCall] = []
        self.items: dict[str, dict[str, Value]] = {
            "*1": {"name": "alpha", "size": 10, "disabled": False},
            "*2": {"name": "beta", "size": 200, "disabled": True},
            "*A": {"name": "gamma ray", "size": 200, "disabled": False},
        }

    def command(self, call: CommandCall) -> Value:
        self.calls.append(call)
        if call.spec.name == "find":
            return Array(
                [
                    Id(key)
                    for key, item in self.items.items()
                    if call.where is None or call.where(item)
                ]
            )
        if call.spec.name == "get":
            item = self.items.get(to_str(call.args["number"]))
            if item is None:
                raise RuntimeFault("no such item")
            return item.get(str(call.args.get("value-name")), NOTHING)
        return NOTHING

    def delay(self, ns: int) -> None:
        self.clock += ns

    def now(self) -> int:
        return self.clock

    def output(self, text: str) -> None:
        self.printed.append(text)

    def resolve(self, name: str, kind: str) -> Value:
        raise RuntimeFault(f"no {kind} of {name}")

    def execute(self, source: str, wait: bool) -> Value:
        return source

    def random(self, low: int, high: int) -> int:
        return low


def tiny_schema(version: str = "7.24") -> Schema:
    numbers = tuple(int(part) for part in version.split("."))
    schema = Schema(version, available(numbers))
    properties = frozenset({"name", "size", "disabled", "start-on-boot", "start-time"})
    path = ("thing",)
    schema.add(path, CommandSpec("find", where=True, properties=properties))
    schema.add(path, CommandSpec("get", frozenset(), ("number", "value-name")))
    schema.add(path, CommandSpec("add", properties))
    schema.add(
        path,
        CommandSpec(
            "print", properties, flags=frozenset({"as-value"}), where=True, properties=properties
        ),
    )
    schema.add((*path, "inner"), CommandSpec("add", properties))
    return schema


SCHEMAS = {version: tiny_schema(version) for version in ("7.12", "7.19", "7.24")}


def printed(source: str, version: str = "7.24") -> list[str]:
    host = TinyHost()
    Interpreter(host, SCHEMAS[version], "job").run(source)
    return host.printed


PRINTS = [
    # values and conversions: references/types.rsc of tarikin/routeros-7-llm-safe-reference
    (":put [:typeof $nope]", "nothing"),
    (":put [:typeof []]", "nil"),
    (":put [:typeof 42]; :put [:typeof -7]; :put [:typeof 0xFF]", "num num num"),
    (':put [:typeof "x"]; :put [:typeof true]; :put [:typeof 1.2.3.4]', "str bool ip"),
    (
        ":put [:typeof 1.2.3.0/24]; :put [:typeof 2001:db8::1]; :put [:typeof fd7a::/48]",
        "ip-prefix ip6 ip6-prefix",
    ),
    (":put [:typeof 1h30m]; :put [:tostr 1h30m]; :put [:tostr 8d1s]", "time 01:30:00 1w1d00:00:01"),
    (
        ':local f do={ :return 1 }; :put [:typeof $f]; :put [:typeof [:parse ":return 1"]]',
        "array code",
    ),
    (':put [:typeof [[:parse ":return 1.1.1.1"]]]', "ip"),
    (
        ':put [:typeof [:tonum "23.8"]]; :put [:typeof [:tonum " 1 "]]; :put [:tonum "-456"]',
        "nil nil -456",
    ),
    (':put [:typeof [:tobool "yes"]]; :put [:tobool 1]', "nil true"),
    (':put [:toip 10.0.0.0/24]; :put [:typeof [:toip "256.1.1.1"]]', "10.0.0.0 nil"),
    (":put [:tonsec 1m]", "60000000000"),
    (':put [:convert "abc" to=base64]; :put [:convert from=hex "616263"]', "YWJj abc"),
    (':put [:convert "abcd" transform=reverse]', "dcba"),
    (':local v "5"; :put ($v + 10); :put ($v . 10)', "15 510"),
    (':local n; :put ($n . "text"); :put ($n + 1)', "text 1"),
    (
        ":put (10 / 3); :put (10 % 3); :put (-7 / 2); :put (1 << 4); :put (0xFF & 0x0F)",
        "3 1 -3 16 15",
    ),
    (":put (9223372036854775807 + 1)", "-9223372036854775808"),
    (':put (5 = "5"); :put (true = 1); :put ("abc" != "abd")', "true false true"),
    (':put ("hello" ~ "^h.*o\\$"); :put ("hello" ~ "xyz")', "true false"),
    (":put (192.168.1.1 in 192.168.0.0/16); :put (10.0.0.1 in 192.168.0.0/16)", "true false"),
    (":put (192.168.1.100 & 255.255.255.0); :put (192.168.1.1 + 1)", "192.168.1.0 192.168.1.2"),
    (":put (10s / 4); :put (3ms + 5s); :put (100000s > 27h)", "00:00:02.5 00:00:05.003 true"),
    # arrays
    (":local a {1;2;3}; :put ($a->0); :put [:len $a]; :put [:tostr $a]", "1 3 1;2;3"),
    (':local d {"b"=1;a=2}; :put ($d->"b"); :put [:tostr $d]', "1 a=2;b=1"),
    (':local n {"o"={"i"="v"}}; :put ($n->"o"->"i")', "v"),
    (':put [:len ({1;2},{3;4})]; :put [:typeof ({}->"x")]', "4 nothing"),
    (':local a []; :set ($a->"k") 5; :put ($a->"k"); :set ($a->"k"); :put [:len $a]', "5 0"),
    (':put [:pick "abcdef" 1 3]; :put [:pick "abc" 0]; :put [:pick {7;8;9} 1]', "bc a 8"),
    (
        ':put [:find "abcabc" "c"]; :put [:find "abcabc" "a" 0]; :put [:typeof [:find "a" "z"]]',
        "2 3 nil",
    ),
    (':foreach k,v in={"a"=1;"b"=2} do={ :put "$k-$v" }', "a-1 b-2"),
    (':put [:len [:toarray "a,b,c"]]', "3"),
    # strings
    (r':put "q\"b\\t\$x"', 'q"b\\t$x'),
    (':local x 3; :put "a$x-$($x + 1)-$[:len "four"]"', "a3-4-4"),
    (r':put "\E2\9C\85"', "\u00e2\u009c\u0085"),
    (':put "one \\\n    two"', "one two"),
    (':local "my-var" 5; :put $"my-var"', "5"),
    # control flow
    (":for i from=1 to=3 do={ :put $i }", "1 2 3"),
    (":for i from=3 to=1 do={ :put $i }", "3 2 1"),
    (":for i from=0 to=10 step=5 do={ :put $i }", "0 5 10"),
    (":local i 0; :while ($i < 3) do={ :set i ($i + 1) }; :put $i", "3"),
    (":local i 0; :do { :set i ($i + 1) } while=($i < 5); :put $i", "5"),
    (':do { :error "x" } on-error={ :put "caught" }', "caught"),
    (':put [:onerror e in={ :error "x" } do={}]; :put [:onerror e in={} do={}]', "true false"),
    (':onerror e in={ :error "boom" } do={ :put $e }', "boom"),
    (':onerror e { :error "boom" } do={ :put $e }', "boom"),
    (':onerror e,a in={ :error "boom" } do={ :put [:typeof $a] }', "array"),
    (':put [:if (1 > 2) do={ :return "yes" } else={ :return "no" }]', "no"),
    (
        ":global n 0; :global f do={ :global n; :set n ($n + 1); :return true }\n"
        ":if (true || [$f]) do={ :put $n }",
        "1",
    ),
    (
        ':global c 0; :retry command={ :global c; :set c ($c + 1); :if ($c < 3) do={ :error "x" } }'
        " delay=1 max=5; :put $c",
        "3",
    ),
    (':retry command={ :error "x" } delay=1 max=2 on-error={ :put "gave up" }', "gave up"),
    (
        ":global f do={ :global f; :if ($1 <= 1) do={ :return 1 }; :return ($1 * [$f ($1 - 1)]) }\n"
        ":put [$f 5]",
        "120",
    ),
    (':local f do={ :return ($1 . $name) }; :put [$f "a" name="b"]', "ab"),
    # scopes: scope-ref.rsc of the same repository
    ('{ :local x "inside" }\n:put [:typeof $x]', "nothing"),
    (':local x "o"; { :local x "i"; :put $x }; :put $x', "i o"),
    (':local o "x"; :local f do={ :return [:typeof $o] }; :put [$f]', "nothing"),
    (':global g "a"; { :local g "b"; :set g "c" }; :put $g', "a"),
    ('{ :global late "v" }\n:put [:typeof $late]\n:global late; :put $late', "nothing v"),
    (":for i from=1 to=2 do={}; :put [:typeof $i]", "nothing"),
    # serialisation
    (r':put ([:deserialize "{\"a\":[1,true,\"x\"]}" from=json]->"a"->2)', "x"),
    (':put [:serialize {"a"={1;2};"b"=true} to=json]', '{"a":[1,2],"b":true}'),
    (":put [:jobname]", "job"),
    # menus, find and get
    (':put [:len [/thing find]]; :put [/thing/get [find name="beta"] size]', "3 200"),
    ("/thing\n:put [:len [find where size=200 disabled]]", "1"),
    (":put [:len [/thing find where size=200 !disabled]]", "1"),
    (':put [:len [/thing/find where (name="alpha" or name~"ray\\$")]]', "2"),
    (':put [:len [/thing/find where size>=10 && !(name="beta")]]', "2"),
    ("/thing { :put [get *A name] }", "gamma ray"),
    (":local want 200; :put [:len [/thing find size=$want]]", "2"),
    # 7.22
    (":for i from=1 to=5 do={ :if ($i = 3) do={ :break }; :put $i }", "1 2"),
    ('# comment; :put "no"\n:put 1; # and here\n:put 2', "1 2"),
]


@pytest.mark.parametrize(("source", "expected"), PRINTS)
def test_prints(source: str, expected: str) -> None:
    assert " ".join(printed(source)) == expected


REFUSED = [
    ":nonexistent-command",
    ":onerror e in={ :nonexistent } do={}",
    "/thing/add colour=red",
    "/thing/nothere",
    "/nowhere/add",
    "/thing/add start=1",  # ambiguous: start-on-boot, start-time
    ":set undeclared 5",
    ":local my-var 5",
    ":local my_var 5",
    ":local 1var 5",
    ":put $my-var",
    ':put "\\e2"',
    ':put "a" . "b"',
    ':put ("a" . "b"',
    ":return",
    ":if (true) do={ :put 1",
    ':put "never ends',
    ":put 1 2",
    ":put (1 +)",
    "/thing/add name=a$x",
    ":foreach x in={1}",
    ':put "a lone $ sign"',
    "/ip//address",
]


@pytest.mark.parametrize("source", REFUSED)
def test_refused_before_anything_runs(source: str) -> None:
    host = TinyHost()
    with pytest.raises(ParseError):
        Interpreter(host, SCHEMAS["7.24"]).run(':put "first"\n' + source)
    assert host.printed == []


FAILS = [
    ':error "x"',
    ":put (1 / 0)",
    ':put ("a" < "b")',
    ':if ("text") do={}',
    ":put (true + 1)",
    "/thing/get *99 name",
    ':resolve "nowhere.example"',
    ':put [:pick "abc" "x"]',
    ':put [:parse ":nonexistent"]',
    '[[:parse "/thing/add colour=red"]]',
    ':put [:deserialize "{" from=json]',
    ':local x 5; :put ($x->"a")',
]


@pytest.mark.parametrize("source", FAILS)
def test_fails_while_running_and_can_be_caught(source: str) -> None:
    with pytest.raises(RuntimeFault):
        printed(source)
    assert printed(f':onerror e in={{ {source} }} do={{ :put "caught" }}') == ["caught"]


def test_quit_cannot_be_caught() -> None:
    assert printed(':onerror e in={ :quit } do={ :put "caught" }; :put "after"') == []


@pytest.mark.parametrize(
    ("source", "since"),
    [
        (":onerror e in={} do={}", "7.13"),
        (":exit", "7.22"),
        (":put [:len [:range 1 3]]", "7.17"),
    ],
)
def test_commands_arrive_with_a_version(source: str, since: str) -> None:
    older = "7.12" if since == "7.13" else "7.19" if since == "7.22" else "7.12"
    with pytest.raises(ParseError):
        printed(source, older)
    printed(source, "7.24")


def test_delay_and_time_use_the_clock_of_the_machine() -> None:
    assert printed(":put [:time { :delay 1500ms; :delay 2 }]") == ["00:00:03.5"]


def test_abbreviations_resolve_to_full_names() -> None:
    host = TinyHost()
    Interpreter(host, SCHEMAS["7.24"]).run("/thi inn add start-o=yes")
    call = host.calls[0]
    assert call.path == ("thing", "inner")
    assert call.args == {"start-on-boot": True}


def test_a_variable_named_like_a_property_means_the_property_in_where() -> None:
    # the trap: $name inside where is the item's own name, so everything matches
    script = ':local name "beta"; :put [:len [/thing find where name=$name]]'
    assert printed(script) == ["3"]
    warnings = [text for _, text in parse(script, SCHEMAS["7.24"]).warnings]
    assert any("means the property" in text for text in warnings)


@pytest.mark.parametrize(
    ("source", "warning"),
    [
        (":put $undeclared", "never declared"),
        (":local o 1; :local f do={ :put $o }", "never declared"),
        ("/thing find where name=beta", "unquoted"),
    ],
)
def test_silent_traps_are_warned_about(source: str, warning: str) -> None:
    warnings = [text for _, text in parse(source, SCHEMAS["7.24"]).warnings]
    assert any(warning in text for text in warnings)


def test_no_warning_without_a_trap() -> None:
    source = ':local wanted "beta"; :put [/thing/get [find where name=$wanted] size]'
    assert parse(source, SCHEMAS["7.24"]).warnings == ()


def test_every_command_of_the_catalogue_is_run_or_refused_by_name() -> None:
    """A catalogue entry that the evaluator forgot must say so, not crash."""
    from tests.routeros.lang.control import CONTROL, MACHINE
    from tests.routeros.lang.functions import PURE

    missing = set(BUILTINS) - set(CONTROL) - set(MACHINE) - set(PURE)
    assert missing == {"grep", "environment"}
    with pytest.raises(RuntimeFault, match="not modelled"):
        printed(":environment")


def test_errors_carry_their_line_where_the_version_does_so() -> None:
    host = TinyHost()
    host.error_suffix = True
    Interpreter(host, SCHEMAS["7.24"]).run('\n\n:onerror e in={\n:error "boom" } do={ :put $e }')
    assert host.printed == ["boom (line 4)"]
