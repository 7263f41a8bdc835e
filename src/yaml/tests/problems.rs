//! Documents with something wrong, and every line that is told about them.

/// Name, text, and lines.
pub(super) const CASES: &[(&str, &str, &[&str])] = &[
    (
        "an unknown field is told with the one meant",
        "server:\n  prot: 1\n",
        &["f.yaml:2:3: server.prot: unknown field `prot`; did you mean `port`?"],
    ),
    (
        "an unknown field far from all others is told with all of them",
        "srv: {}\n",
        &["f.yaml:1:1: srv: unknown field `srv`; expected one of `server`, `keys`, `plans`"],
    ),
    (
        "all problems are told at once, in the order of the file",
        "server: {port: 70000, drain: 5, mode: alow-anyone}\nkeys:\n- id: a\n  enabled: maybe\n- {secrets: 7}\nplan: {}\n",
        &[
            "f.yaml:1:16: server.port: out of range; expected a whole number from 0 to 65535",
            "f.yaml:1:30: server.drain: not a duration; write a whole number and ms, s, m, h or d, such as 250ms or 30d",
            "f.yaml:1:39: server.mode: not an allowed value; did you mean `allow-anyone`?",
            "f.yaml:3:3: keys[0]: missing member `secrets`",
            "f.yaml:4:12: keys[0].enabled: expected true or false, found a string",
            "f.yaml:5:3: keys[1]: missing member `id`",
            "f.yaml:5:13: keys[1].secrets: expected a list, found a number",
            "f.yaml:6:1: plan: unknown field `plan`; did you mean `plans`?",
        ],
    ),
    (
        "each missing member is told, though its type has no value to make up",
        "keys:\n- id: a\n  secrets:\n  - {}\n  - digest: x\n    until: 2026-02-30T00:00:00Z\n",
        &[
            "f.yaml:4:5: keys[0].secrets[0]: missing member `digest`",
            "f.yaml:4:5: keys[0].secrets[0]: missing member `until`",
            "f.yaml:6:12: keys[0].secrets[1].until: a time that does not exist; check the day of the month, the hour and the offset, as in 2026-11-01T00:00:00Z",
        ],
    ),
    (
        "wrong types are told for what they are",
        "server: [1]\nkeys: {}\nplans: x\n",
        &[
            "f.yaml:1:9: server: expected a mapping, found a list",
            "f.yaml:2:7: keys: expected a list, found a mapping",
            "f.yaml:3:8: plans: expected a mapping, found a string",
        ],
    ),
    (
        "numbers are told their range, strings what they are for",
        "server: {port: -1, level: x, drain: {}, mode: [], tls: 5}\n",
        &[
            "f.yaml:1:16: server.port: out of range; expected a whole number from 0 to 65535",
            "f.yaml:1:27: server.level: expected a whole number, found a string",
            "f.yaml:1:37: server.drain: expected a string such as 250ms, found a mapping",
            "f.yaml:1:47: server.mode: expected one of `require-key`, `allow-anyone`, `deny`, found a list",
            "f.yaml:1:56: server.tls: expected a mapping, found a number",
        ],
    ),
    (
        "null where null says nothing is an error",
        "keys:\n- id: a\n  secrets: []\n  allow_hosts: null\n",
        &[
            "f.yaml:4:16: keys[0].allow_hosts: null says nothing here; give a value, or leave the member out",
        ],
    ),
    (
        "a blank is neither an empty mapping nor an empty list",
        "server:\nplans:\n  gold:\n  silver: {scopes: }\nkeys:\n- id: a\n  secrets: # lost\n  metadata: !lost\n-\n",
        &[
            "f.yaml:1:8: server: holds nothing; write {} for an empty mapping",
            "f.yaml:3:8: plans.gold: holds nothing; write {} for an empty mapping",
            "f.yaml:4:20: plans.silver.scopes: holds nothing; write [] for an empty list",
            "f.yaml:7:11: keys[0].secrets: holds nothing; write [] for an empty list",
            "f.yaml:8:13: keys[0].metadata: holds nothing; write {} for an empty mapping",
            "f.yaml:9:2: keys[1]: holds nothing; write {} for an empty mapping",
        ],
    ),
    (
        "a repeated member is an error at any depth",
        "server: {port: 1, port: 2}\nkeys:\n- id: a\n  secrets: []\n  metadata:\n    x: {y: [{z: 1, z: 1}]}\nplans:\n  gold: {}\n  gold: {}\n",
        &[
            "f.yaml:1:19: server.port: repeated member `port`; it is already in line 1; keep one",
            "f.yaml:6:20: keys[0].metadata.x.y[0].z: repeated member `z`; it is already in line 6; keep one",
            "f.yaml:9:3: plans.gold: repeated member `gold`; it is already in line 8; keep one",
        ],
    ),
    (
        "a repeated member is told together with all else",
        "plans:\n  gold: {scope: []}\n  gold: {}\n",
        &[
            "f.yaml:2:10: plans.gold.scope: unknown field `scope`; did you mean `scopes`?",
            "f.yaml:3:3: plans.gold: repeated member `gold`; it is already in line 2; keep one",
        ],
    ),
    (
        "a syntax error is told alone",
        "server: {port: 1\nkeys: [\n",
        &[
            "f.yaml:2:5: a mapping in brackets neither ends here nor goes on with a comma; close it with `}`, or put a comma between the members",
        ],
    ),
    (
        "a tab is a syntax error",
        "server:\n\tport: 1\n",
        &["f.yaml:2:1: a tab in the indentation; YAML is indented with spaces: replace the tab"],
    ),
    (
        "an alias without an anchor is a syntax error",
        "server: *a\n",
        &[
            "f.yaml:1:9: `*` begins an alias, and no anchor of that name comes before it; put text that begins with `*` in quotes",
        ],
    ),
    (
        "a tab further on is told where it is",
        "server:\n  drain:\t1s\n \tport: 1\n",
        &["f.yaml:3:2: a tab in the indentation; YAML is indented with spaces: replace the tab"],
    ),
    (
        "a quote that is not closed is told where it opens",
        "plans:\n  gold: {scopes: ['a, b]}\n",
        &[
            "f.yaml:2:19: the text in quotes that begins here never ends; close the quote, or one before it; within '…' a quote is written twice, within \"…\" as \\\"",
        ],
    ),
    (
        "text in quotes that runs into the next member is told where the last quote opens",
        "server:\n  mode: \"deny\nplans: {}\nkeys: \"\"\n",
        &[
            "f.yaml:4:8: the text in quotes that begins here never ends; close the quote, or one before it; within '…' a quote is written twice, within \"…\" as \\\"",
        ],
    ),
    (
        "a quote within quotes is told where it ends them",
        "server:\n  mode: \"a\"b\"\n",
        &[
            "f.yaml:2:12: something follows the text in quotes; put all of it in the quotes; within them a quote is written \\\"",
        ],
    ),
    (
        "a star without quotes is told",
        "plans: {a: {scopes: [**]}}\n",
        &[
            "f.yaml:1:22: `*` or `&` begins an alias or an anchor, and no name follows; put text that begins so in quotes",
        ],
    ),
    (
        "a member further in than the one before it is told",
        "server:\n  port: 1\n    level: 2\n",
        &[
            "f.yaml:3:10: a `:` where no member can be; indent the line as the member before it; put text that holds `: ` in quotes",
        ],
    ),
    (
        "a member on no level is told",
        "keys:\n- id: a\n secrets: []\n",
        &[
            "f.yaml:3:2: the line is neither on a level with the members before it nor within one of them; indent it as the members that it belongs to",
        ],
    ),
    (
        "a colon without a space after it is told in its line",
        "server: {}\nplans: {}\nmode:observe\n",
        &[
            "f.yaml:3:1: no `: ` follows a name in this line; write `name: value`, with a space after the colon",
        ],
    ),
    (
        "a name alone is told in its line, past empty ones",
        "server:\n  port: 1\n  drain\n\n# plans\nplans: {}\n",
        &[
            "f.yaml:3:3: no `: ` follows a name in this line; write `name: value`, with a space after the colon",
        ],
    ),
    (
        "a first line without a name is told in its line",
        "mode:observe\nserver: {}\n",
        &[
            "f.yaml:1:1: no `: ` follows a name in this line; write `name: value`, with a space after the colon",
        ],
    ),
    (
        "an entry whose first line has no name is told in that line",
        "keys:\n- id:a\n  enabled: true\n",
        &[
            "f.yaml:2:3: no `: ` follows a name in this line; write `name: value`, with a space after the colon",
        ],
    ),
    (
        "a dash without a space after it is told",
        "keys:\n- id: a\n-id: b\nserver\nplans: {}\n",
        &[
            "f.yaml:4:1: no `: ` follows a name in this line; write `name: value`, with a space after the colon",
        ],
    ),
    (
        "a dash without a space after it is told in its line",
        "keys:\n- id: a\n-b\nplans: {}\n",
        &[
            "f.yaml:3:1: no `: ` follows a name in this line; write an entry of a list as `- entry`, with a space after the `-`",
        ],
    ),
    (
        "a bracket that is never closed is told",
        "server: {}\nkeys: [\n",
        &[
            "f.yaml:3:1: a list or mapping in brackets is not closed; close it with the bracket that fits",
        ],
    ),
    (
        "a bracket that is not closed before the next member is told",
        "plans: {a: {scopes: [b]}\nserver: {}\n",
        &[
            "f.yaml:2:1: a list or mapping in brackets is not closed before this line; close the bracket, or put a comma before the line and indent it",
        ],
    ),
    (
        "a bracket that does not fit is told",
        "keys: [}\n",
        &[
            "f.yaml:1:8: this bracket does not fit the one that is open; close `[` with `]` and `{` with `}`",
        ],
    ),
    (
        "an entry that is missing is told",
        "plans: {a: {scopes: [b, , c]}}\n",
        &[
            "f.yaml:1:25: an entry is missing before this comma; write the entry, or take the comma away",
        ],
    ),
    (
        "a comma that is missing in a list is told",
        "keys: [{id: a} {id: b}]\n",
        &[
            "f.yaml:1:16: a list in brackets neither ends here nor goes on with a comma; close it with `]`, or put a comma between the entries",
        ],
    ),
    (
        "a bracket too many is told",
        "plans: {a: {}}}\n",
        &[
            "f.yaml:1:15: this bracket closes none that is open; take it away, or put text that holds brackets in quotes",
        ],
    ),
    (
        "a member on the level of a list is told",
        "keys:\n  - id: a\n  server: {}\n",
        &[
            "f.yaml:3:3: the line is in a list and does not begin with `- `; write `- ` before the entry, or indent the line as the members that it belongs to",
        ],
    ),
    (
        "text cannot begin with every mark",
        "server: @a\n",
        &["f.yaml:1:9: text cannot begin with @; put it in quotes"],
    ),
    (
        "a merge key is told for what it is, and nothing that it would bring is missed",
        "server: &s {port: 1}\nplans:\n  <<: *s\n  gold:\n    <<: *s\n    scopes: 7\nkeys:\n- <<: *s\n  metadata: {<<: *s}\n",
        &[
            "f.yaml:3:3: plans: merge keys (`<<`) are not supported; write the members out; an alias (`*name`) may stand for a whole value",
            "f.yaml:5:5: plans.gold: merge keys (`<<`) are not supported; write the members out; an alias (`*name`) may stand for a whole value",
            "f.yaml:6:13: plans.gold.scopes: expected a list, found a number",
            "f.yaml:8:3: keys[0]: merge keys (`<<`) are not supported; write the members out; an alias (`*name`) may stand for a whole value",
            "f.yaml:9:14: keys[0].metadata: merge keys (`<<`) are not supported; write the members out; an alias (`*name`) may stand for a whole value",
        ],
    ),
    (
        "an alias to what it stands in is an error",
        "plans: &a\n  x: *a\n",
        &["f.yaml:2:6: plans.x: an alias is inside the value that it names"],
    ),
    (
        "a second document is an error",
        "server: {}\n---\nserver: {}\n",
        &["f.yaml:2:1: a second document begins; keep one document in a file"],
    ),
    (
        "an empty file is an error",
        "# nothing\n---\n\n",
        &["f.yaml: the file is empty; write {} for an empty mapping"],
    ),
    (
        "a document that is no mapping is an error",
        "- 1\n",
        &["f.yaml:1:1: expected a mapping, found a list"],
    ),
    (
        "a mapping as a name is an error",
        "? {a: b}\n: c\n",
        &["f.yaml:1:3: a list or mapping in place of a name"],
    ),
    (
        "a name with odd letters is not told and cannot draw on a terminal",
        "plans:\n  \"a b\\e\": {x: 1}\n",
        &["f.yaml:2:13: plans[…].x: unknown field `x`; expected `scopes`"],
    ),
    (
        "an unset name is an error, with its place",
        "server: {port: \"${NOPE}\"}\nplans: {a: {scopes: [\"${\", ok]}}\n",
        &[
            "f.yaml:1:16: server.port: environment variable `NOPE` is not set; set it, or write ${NAME:-default}",
            "f.yaml:2:22: plans.a.scopes[0]: `${` does not begin a reference to the environment; write ${NAME} or ${NAME:-default}",
        ],
    ),
];
