//! Configurations with something wrong, and every line that is told about them.

/// Name, text, and lines.
pub(super) const CASES: &[(&str, &str, &[&str])] = &[
    (
        "an empty file",
        "",
        &["etc/keyward.yaml: the file is empty; write {} for an empty mapping"],
    ),
    (
        "listeners",
        "server:\n  grpc: {address: localhost:9191, socket_mode: \"999\"}\n  admin: {address: \":9192\"}\n  drain: 20s\n",
        &[
            "etc/keyward.yaml:2:3: server.deadline: no time is left after `drain`; it counts from the signal on; make it longer than `drain`, 20s",
            "etc/keyward.yaml:2:19: server.grpc.address: not an address to listen on; write an IP address and a port, such as 127.0.0.1:9191 or [::]:9191, or unix:/run/keyward/keyward.sock",
            "etc/keyward.yaml:2:48: server.grpc.socket_mode: not permission bits; write them in octal and in quotes, such as \"0660\"",
            "etc/keyward.yaml:3:20: server.admin.address: not an address to listen on; write an IP address and a port, such as 127.0.0.1:9191 or [::]:9191",
        ],
    ),
    (
        "two listeners at one address",
        "server: {admin: {address: 127.0.0.1:9191}}",
        &[
            "etc/keyward.yaml:1:27: server.admin.address: the gRPC listener has this address too; give each listener a port of its own",
        ],
    ),
    (
        "a socket without a path, and a certificate without one",
        "server: {grpc: {address: \"unix:\", tls: {cert_file: \"\", key_file: a}}}",
        &[
            "etc/keyward.yaml:1:26: server.grpc.address: not the path of a socket; write unix: and a path, such as unix:/run/keyward.sock",
            "etc/keyward.yaml:1:52: server.grpc.tls.cert_file: the path is empty; name a file, relative to the configuration or from /",
        ],
    ),
    (
        "credentials of the wrong form",
        "credentials:\n- {}\n- {header: x-a, query: b}\n- {query: a, scheme: Bearer}\n- header: \"x a\"\n- header: Cookie\n- header: Host\n- {header: x-b, scheme: \"a b\"}\n- query: a=b\n- cookie: a;b\n",
        &[
            "etc/keyward.yaml:2:3: credentials[0]: not one place; name exactly one of `header`, `query`, `cookie`",
            "etc/keyward.yaml:3:3: credentials[1]: not one place; name exactly one of `header`, `query`, `cookie`",
            "etc/keyward.yaml:4:22: credentials[2].scheme: only a header has a scheme",
            "etc/keyward.yaml:5:11: credentials[3].header: not a header's name; a header name is an RFC 9110 token, such as x-api-key",
            "etc/keyward.yaml:6:11: credentials[4].header: cookies are looked at one by one; write `cookie: NAME`",
            "etc/keyward.yaml:7:11: credentials[5].header: this header has a meaning of its own to Envoy or HTTP; choose another, such as x-api-key",
            "etc/keyward.yaml:8:25: credentials[6].scheme: not an authentication scheme; write one word, such as Bearer",
            "etc/keyward.yaml:9:10: credentials[7].query: not a query parameter's name; write it as it stands in a URL, such as api_key",
            "etc/keyward.yaml:10:11: credentials[8].cookie: not a cookie's name; a cookie name is an RFC 6265 token, such as api_key",
        ],
    ),
    (
        "credentials in headers that are logged, or that Envoy or a hop sets",
        "credentials:\n- header: X-Request-Id\n- header: x-envoy-original-path\n- header: x_forwarded_for\n- {header: content_type, scheme: Key}\n- header: proxy-connection\n",
        &[
            "etc/keyward.yaml:2:11: credentials[0].header: this header has a meaning of its own to Envoy or HTTP; choose another, such as x-api-key",
            "etc/keyward.yaml:3:11: credentials[1].header: this header has a meaning of its own to Envoy or HTTP; choose another, such as x-api-key",
            "etc/keyward.yaml:4:11: credentials[2].header: this header has a meaning of its own to Envoy or HTTP; choose another, such as x-api-key",
            "etc/keyward.yaml:5:12: credentials[3].header: this header has a meaning of its own to Envoy or HTTP; choose another, such as x-api-key",
            "etc/keyward.yaml:6:11: credentials[4].header: this header has a meaning of its own to Envoy or HTTP; choose another, such as x-api-key",
        ],
    ),
    (
        "credentials at the same place",
        "credentials:\n- header: x-api-key\n- header: X_Api_Key\n- {header: x-api-key, scheme: Bearer}\n- query: k\n- query: k\n- query: K\n- {header: a, scheme: Bearer}\n- {header: A, scheme: bearer}\n",
        &[
            "etc/keyward.yaml:3:3: credentials[1]: the same place as credentials[0]; name each place once; one header holds several secrets only by different schemes",
            "etc/keyward.yaml:4:3: credentials[2]: the same place as credentials[0]; name each place once; one header holds several secrets only by different schemes",
            "etc/keyward.yaml:6:3: credentials[4]: the same place as credentials[3]; name each place once; one header holds several secrets only by different schemes",
            "etc/keyward.yaml:9:3: credentials[7]: the same place as credentials[6]; name each place once; one header holds several secrets only by different schemes",
        ],
    ),
    (
        "prefixes, and ways to strip",
        "credentials:\n- {header: x-a, prefix: ''}\n- {header: x-b, prefix: 'k,'}\n- {header: x-c, strip: path}\n- {query: q, strip: parm}\n- {cookie: c, strip: parameter}\n",
        &[
            "etc/keyward.yaml:2:25: credentials[0].prefix: not a prefix of secrets; write 1 to 64 visible ASCII characters but `,`, `;`, `%`, a quote or a backtick, such as kw_",
            "etc/keyward.yaml:3:25: credentials[1].prefix: not a prefix of secrets; write 1 to 64 visible ASCII characters but `,`, `;`, `%`, a quote or a backtick, such as kw_",
            "etc/keyward.yaml:4:24: credentials[2].strip: only a query parameter is removed in one way or another; leave `strip` out",
            "etc/keyward.yaml:5:21: credentials[3].strip: not an allowed value; expected one of `parameter`, `path`",
            "etc/keyward.yaml:6:22: credentials[4].strip: only a query parameter is removed in one way or another; leave `strip` out",
        ],
    ),
    (
        "no credentials",
        "credentials: []",
        &[
            "etc/keyward.yaml:1:14: credentials: no place for a secret, so no key could ever be presented; leave `credentials` out for the default",
        ],
    ),
    (
        "a realm that breaks out",
        "realm: 'a\"b'",
        &[
            "etc/keyward.yaml:1:8: realm: a character that could break out of the challenge; visible ASCII and spaces without `\"` and `\\` may stand in a realm",
        ],
    ),
    (
        "digests",
        "digest: {accept: [blake3-keyed]}",
        &[
            "etc/keyward.yaml:1:18: digest.accept: `blake3-keyed` needs a pepper; set `digest.pepper_file`, or accept `blake3`",
        ],
    ),
    (
        "digest kinds twice, or of another name",
        "digest: {accept: [blake3, blake3]}",
        &["etc/keyward.yaml:1:18: digest.accept: `blake3` is named twice; name each kind once"],
    ),
    (
        "digest kinds of later versions alone, which are told once",
        "digest: {accept: [sha256]}",
        &["etc/keyward.yaml:1:19: digest.accept[0]: not supported yet; leave `accept` out"],
    ),
    (
        "a method in small letters where case is ignored",
        "rules: [{name: a, match: {methods: [post]}, allow: nobody}]",
        &[
            "etc/keyward.yaml:1:37: rules[0].match.methods[0]: this method is written in capitals; write `POST`",
        ],
    ),
    (
        "no source",
        "source: {}",
        &[
            "etc/keyward.yaml:1:9: source: not one source; name exactly one of `file`, `http`, `redis`",
        ],
    ),
    (
        "two sources",
        "source: {file: {}, redis: {url: redis://a}}",
        &[
            "etc/keyward.yaml:1:9: source: not one source; name exactly one of `file`, `http`, `redis`",
        ],
    ),
    (
        "a remote source, whose shape is checked",
        "source: {http: {url: \"https://a/{digest}\", time: 1s}}",
        &["etc/keyward.yaml:1:44: source.http.time: unknown field `time`; did you mean `timeout`?"],
    ),
    (
        "members of later versions, which are known",
        "server: {workers: 2}\nkey_format: {prefix: [a_, kw_]}\ndigest: {accept: [blake3, sha256]}\ndefault_plan: gold\nusage: {interval: 10s}\nlimits: {time_zone: Europe/Berlin}\nrules: [{name: a, require: {}, cost: 5}]\n",
        &[
            "etc/keyward.yaml:1:19: server.workers: not supported yet; leave `workers` out",
            "etc/keyward.yaml:2:13: key_format: not supported yet; leave `key_format` out",
            "etc/keyward.yaml:3:27: digest.accept[1]: not supported yet; leave `sha256` out",
            "etc/keyward.yaml:4:15: default_plan: not supported yet; leave `default_plan` out",
            "etc/keyward.yaml:5:8: usage: not supported yet; leave `usage` out",
            "etc/keyward.yaml:6:21: limits.time_zone: not supported yet; use `UTC`",
            "etc/keyward.yaml:7:38: rules[0].cost: not supported yet; leave `cost` out",
        ],
    ),
    (
        "limits and MCP are for later",
        "limits: {backend: redis, redis: {url: redis://a}}\nplans: {gold: {limits: [{name: a, rate: 1/s}], mcp: {allow_tools: []}}}\nrules: [{name: a, mcp: {}}, {name: b, allow: anyone, mcp: {}}]\n",
        &[
            "etc/keyward.yaml:1:19: limits.backend: not supported yet; use `local`",
            "etc/keyward.yaml:1:33: limits.redis: not supported yet; leave it out",
            "etc/keyward.yaml:2:24: plans.gold.limits: not supported yet; leave `limits` out",
            "etc/keyward.yaml:2:53: plans.gold.mcp: not supported yet; leave `mcp` out",
            "etc/keyward.yaml:3:24: rules[0].mcp: not supported yet; write `require: {}` for any valid key",
            "etc/keyward.yaml:3:59: rules[1].mcp: not supported yet; write `require: {}` for any valid key",
        ],
    ),
    (
        "what got lost does not pass for absent",
        "rules:\n- {name: a, require: {}}\n- {name: b, allow: nobody}\n- {name: c, allow: anyone}\n- {name: d, allow: null}\n- {name: e, match: , allow: anyone}\n",
        &[
            "etc/keyward.yaml:5:20: rules[3].allow: null says nothing here; give a value, or leave the member out",
            "etc/keyward.yaml:6:20: rules[4].match: holds nothing; write {} for an empty mapping",
        ],
    ),
    (
        "a blank mapping or list, as in a file cut short",
        "server:\nrules:\ndefault: allow-anyone\ncredentials:\nplans:\n  gold:\nidentity:\n  headers:\n",
        &[
            "etc/keyward.yaml:1:8: server: holds nothing; write {} for an empty mapping",
            "etc/keyward.yaml:2:7: rules: holds nothing; write [] for an empty list",
            "etc/keyward.yaml:4:13: credentials: holds nothing; give a value, or leave the member out",
            "etc/keyward.yaml:6:8: plans.gold: holds nothing; write {} for an empty mapping",
            "etc/keyward.yaml:8:11: identity.headers: holds nothing; write {} for an empty mapping",
        ],
    ),
    (
        "rules that do not mean one thing",
        "rules:\n- {name: a}\n- {name: a, allow: anyone, require: {}}\n- {name: \"\", allow: nobody}\n",
        &[
            "etc/keyward.yaml:2:3: rules[0]: the rule does not say what it wants; write `require: {}` for any valid key, `allow: anyone` or `allow: nobody`",
            "etc/keyward.yaml:3:3: rules[1]: both `allow` and `require`; keep one: `allow` asks for no key",
            "etc/keyward.yaml:3:10: rules[1].name: rules[0] has this name too; give each rule its own",
            "etc/keyward.yaml:4:10: rules[2].name: a rule's name has 1 to 128 bytes and no control characters",
        ],
    ),
    (
        "patterns, methods, scopes and clients",
        "rules:\n- name: a\n  match: {hosts: [], paths: [a, \"/a[b]\"], methods: [get, \"G T\"]}\n  require: {scopes: [\"a b\"], clients: [_a]}\n- name: b\n  match: {hosts: [\"*\"]}\n  require: {scopes: [], clients: []}\n",
        &[
            "etc/keyward.yaml:3:18: rules[0].match.hosts: the list is empty; leave it out for any",
            "etc/keyward.yaml:3:30: rules[0].match.paths[0]: a path pattern begins with `/`",
            "etc/keyward.yaml:3:33: rules[0].match.paths[1]: `[` has no meaning in a path pattern; there are `*`, within a segment, and `**`, for any number of segments",
            "etc/keyward.yaml:3:53: rules[0].match.methods[0]: this method is written in capitals; write `GET`",
            "etc/keyward.yaml:3:58: rules[0].match.methods[1]: not a method; write a name such as GET",
            "etc/keyward.yaml:4:22: rules[0].require.scopes[0]: a scope is one or more visible ASCII characters other than `\"` and `\\` (RFC 6749 section 3.3)",
            "etc/keyward.yaml:4:40: rules[0].require.clients[0]: a client has 1 to 128 characters of `A-Za-z0-9._:@/-` and does not begin with `_`",
            "etc/keyward.yaml:6:19: rules[1].match.hosts[0]: `*` stands for names below a host, as in `*.example.org`, and only in front; leave the list out to match any",
            "etc/keyward.yaml:7:21: rules[1].require.scopes: the list is empty; leave it out for any",
            "etc/keyward.yaml:7:34: rules[1].require.clients: the list is empty; leave it out for any",
        ],
    ),
    (
        "patterns that no request could match, so that a rule for nobody would let everybody in",
        "rules:\n- {name: a, match: {paths: [/caf%C3%A9, '/a;b', \"/a\\n\"], hosts: [.example.com, a..b, 'a:080']}, allow: nobody}\n",
        &[
            "etc/keyward.yaml:2:29: rules[0].match.paths[0]: paths are percent-decoded before they are compared: write the decoded character instead of `%`",
            "etc/keyward.yaml:2:41: rules[0].match.paths[1]: a path pattern holds no ';'; `*` stands for any text within a segment",
            "etc/keyward.yaml:2:49: rules[0].match.paths[2]: a path pattern holds no '\\n'; `*` stands for any text within a segment",
            "etc/keyward.yaml:2:66: rules[0].match.hosts[0]: a host has something before and between its dots",
            "etc/keyward.yaml:2:80: rules[0].match.hosts[1]: a host has something before and between its dots",
            "etc/keyward.yaml:2:86: rules[0].match.hosts[2]: a port has no leading zeros",
        ],
    ),
    (
        "plans",
        "plans: {_a: {}, b: {scopes: [\"\"]}}",
        &[
            "etc/keyward.yaml:1:9: plans._a: a plan name has 1 to 128 characters of `A-Za-z0-9._:@/-` and does not begin with `_`",
            "etc/keyward.yaml:1:30: plans.b.scopes[0]: a scope is one or more visible ASCII characters other than `\"` and `\\` (RFC 6749 section 3.3)",
        ],
    ),
    (
        "identity headers",
        "identity:\n  headers:\n    host: key.id\n    x-a: key.secret\n    X_A: key.id\n    x_api_key: key.id\n    \"x b\": key.id\n    x-forwarded-user: key.id\n    authorization: key.id\n",
        &[
            "etc/keyward.yaml:3:5: identity.headers.host: this header has a meaning of its own to Envoy or HTTP; choose another name, such as one that begins with `x-keyward-`",
            "etc/keyward.yaml:4:10: identity.headers.x-a: there are `key.id`, `key.client`, `key.scopes`, `key.plan` and `key.metadata.NAME`",
            "etc/keyward.yaml:5:5: identity.headers.X_A: an upstream could take it for `x-a`; names must differ in more than case and characters besides letters and digits",
            "etc/keyward.yaml:6:5: identity.headers.x_api_key: the credential header `x-api-key` has this name too; choose another name",
            "etc/keyward.yaml:7:5: identity.headers[…]: a header name is an RFC 9110 token",
            "etc/keyward.yaml:8:5: identity.headers.x-forwarded-user: this header has a meaning of its own to Envoy or HTTP; choose another name, such as one that begins with `x-keyward-`",
            "etc/keyward.yaml:9:5: identity.headers.authorization: the credential header `authorization` has this name too; choose another name",
        ],
    ),
    (
        "what stands for a mapping is told what it looks like",
        "credentials: [x-api-key]\nsource: keys.yaml\nlog: debug\nrules: [{name: a, match: /a, require: admin}]\n",
        &[
            "etc/keyward.yaml:1:15: credentials[0]: expected a mapping such as {header: x-api-key}, found a string",
            "etc/keyward.yaml:2:9: source: expected a mapping such as {file: {path: keys.yaml}}, found a string",
            "etc/keyward.yaml:3:6: log: expected a mapping such as {level: info}, found a string",
            "etc/keyward.yaml:4:26: rules[0].match: expected a mapping such as {paths: [/healthz]}, found a string",
            "etc/keyward.yaml:4:39: rules[0].require: expected a mapping such as {scopes: [admin]}, found a string",
        ],
    ),
    (
        "a cache of nothing",
        "cache: {capacity: 0, negative_capacity: -1}",
        &[
            "etc/keyward.yaml:1:19: cache.capacity: out of range; expected a whole number from 1",
            "etc/keyward.yaml:1:41: cache.negative_capacity: out of range; expected a whole number from 1",
        ],
    ),
    (
        "caches of nothing",
        "cache: {capacity: 0, negative_capacity: 0}",
        &[
            "etc/keyward.yaml:1:19: cache.capacity: the cache would be empty; write 1 or more",
            "etc/keyward.yaml:1:41: cache.negative_capacity: the cache would be empty; write 1 or more",
        ],
    ),
    (
        "names and values that do not exist",
        "servr: {}\nmode: observing\nlog: {level: warning, decisions: denies}\nresponses: {rate_limit_headers: of}\nrealm: ${REALM}\n",
        &[
            "etc/keyward.yaml:1:1: servr: unknown field `servr`; did you mean `server`?",
            "etc/keyward.yaml:2:7: mode: not an allowed value; expected one of `enforce`, `observe`",
            "etc/keyward.yaml:3:14: log.level: not an allowed value; expected one of `error`, `warn`, `info`, `debug`, `trace`",
            "etc/keyward.yaml:3:34: log.decisions: not an allowed value; did you mean `denied`?",
            "etc/keyward.yaml:4:33: responses.rate_limit_headers: not an allowed value; did you mean `off`?",
            "etc/keyward.yaml:5:8: realm: environment variable `REALM` is not set; set it, or write ${NAME:-default}",
        ],
    ),
];
