//! Random requests, over the alphabets of `random`.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::naive::{NaivePlace, NaiveRequest, NaiveSecret, World};
use super::random::SECRETS;

fn presented() -> impl Strategy<Value = String> {
    prop_oneof![
        18 => select(SECRETS).prop_map(str::to_owned),
        3 => select(vec!["K\u{7f}", "KX", "V1", "V1,KA", "KA,V1", "V1, KB", "K A", "K\u{e9}", "", "KA,KB", "KA,", ",KA", "KA,KA"]).prop_map(str::to_owned),
        1 => (511_usize..=513).prop_map(|length| "L".repeat(length)),
    ]
}

fn authorization() -> impl Strategy<Value = String> {
    let start = select(vec![
        "Bearer ", "Bearer ", "bearer  ", "APIKEY ", "ApiKey ", "Basic ", "Bearer", "",
    ]);
    let one = (start, presented()).prop_map(|(start, secret)| format!("{start}{secret}"));
    let odd = select(vec![
        "Bearer",
        "Bearer ",
        "Basic x,Bearer KA",
        "Basic x, bearer KA",
        "Bearer KA,Bearer KB",
        "Bearer KA, Basic x",
        ",Bearer KA",
        "Bearer,KA",
        "ApiKey KA,Bearer KA",
        "Digest a=\"b\", c=d",
        "Bearer V1",
        "Bearer V1, Bearer KA",
        "Bearer KA,Bearer V1",
        "Bearer V1,KA",
        "KA",
        "KA,Bearer V1",
    ]);
    prop_oneof![8 => one, 1 => odd.prop_map(str::to_owned)]
}

fn cookies() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => presented().prop_map(|secret| format!("api_key={secret}")),
        1 => presented().prop_map(|secret| format!("t={secret}")),
        3 => select(vec!["s=1", "API_KEY=KA", "t", "api_key", "", "u=a=b", "=KA", "api_key2=KB"]).prop_map(str::to_owned),
    ];
    (vec(piece, 1..4), select(vec!["; ", ";", ",", ", "])).prop_map(|(pieces, by)| pieces.join(by))
}

fn line() -> impl Strategy<Value = (String, String)> {
    let of = |name: &'static [&'static str], value: BoxedStrategy<String>| (select(name), value);
    prop_oneof![
        6 => of(&["x-api-key", "X-Api-Key"], presented().boxed()),
        6 => of(&["authorization", "Authorization"], authorization().boxed()),
        3 => of(&["cookie", "Cookie"], cookies().boxed()),
        4 => of(
            &["x-keyward-key-id", "X_Keyward-Key_Id", "x.keyward~key.id", "x|plan", "x-plan", "x_plan", "X_Org_Id", "x_api_key", "x-other"],
            Just("v".to_owned()).boxed(),
        ),
        2 => of(
            &["x-forwarded-proto", "X-Forwarded-Proto"],
            select(vec!["http", "https"]).prop_map(str::to_owned).boxed(),
        ),
        4 => of(
            &["x-envoy-external-address"],
            select(vec!["10.0.0.1", "10.1.2.3", "2001:db8::9", "11.0.0.1", "nonsense"]).prop_map(str::to_owned).boxed(),
        ),
    ]
    .prop_map(|(name, value)| (name.to_owned(), value))
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let plain = select(vec![
        "a", "b", "ab", "aab", "%61", "a%20b", "%C3%A9", "...", "%41", "a",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    let odd = select(vec![
        &b""[..],
        b".",
        b"..",
        b"%2e",
        b"%2F",
        b"a;b",
        b"%zz",
        b"a%",
        b"%4",
        b"\\",
        b"\xc3\xa9",
        b"%25",
        b"%5C",
        b"%3b",
        b"#",
        b"%00",
        b"a\x7f",
        b"%7F",
        b"%c0%ae",
        b"%C3",
        b"a%A9",
        b"%ed%a0%80",
    ])
    .prop_map(<[u8]>::to_vec);
    let segment = prop_oneof![20 => plain, 1 => odd];
    let path = (vec(segment, 0..4), any::<bool>()).prop_map(|(segments, slash)| {
        let mut path = b"/".to_vec();
        path.extend(segments.join(&b'/'));
        if slash {
            path.push(b'/');
        }
        path
    });
    prop_oneof![30 => path, 1 => select(vec![&b"*"[..], b"", b"a", b"*a", b"//"]).prop_map(<[u8]>::to_vec)]
}

fn query() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => presented().prop_map(|secret| format!("api_key={secret}")),
        4 => select(vec![
            "api_key=%4BA", "api_key=K%42", "API_KEY=KB", "api%5Fkey=KB", "x=1", "api_key", "api_key=", "", "api_key=K%zz",
            "api_key=%4b%41?", "api_key=K+A",
        ])
        .prop_map(str::to_owned),
    ];
    vec(piece, 1..3).prop_map(|pieces| format!("?{}", pieces.join("&")))
}

pub(crate) fn requests() -> impl Strategy<Value = NaiveRequest> {
    let host = select(vec![
        "a.example",
        "A.Example",
        "b.example",
        "b.a.example",
        "example",
        "a.example:80",
        "a.example:81",
        "a.example.",
        "a.example.:80",
        "b.example:80",
        "x.a.example:81",
        "",
        "b.example:080",
        "xexample",
        "aXexample",
        "example.:443",
    ]);
    let target = (path(), option::weighted(0.3, query()));
    let peer = select(vec![
        "10.0.0.1",
        "10.1.2.3",
        "11.0.0.1",
        "2001:db8::1",
        "2001:db9::1",
    ]);
    (
        (
            select(vec!["GET", "GET", "POST", "get", "PUT"]),
            select(vec!["http", "https"]),
        ),
        host,
        target,
        vec(line(), 0..4),
        option::weighted(0.9, peer),
        option::weighted(0.1, select(vec!["r0", "r1", "r9", ""])),
    )
        .prop_map(
            |((method, scheme), host, (mut target, query), lines, peer, rule)| {
                target.extend(query.unwrap_or_default().into_bytes());
                NaiveRequest {
                    method: method.to_owned(),
                    host: host.to_owned(),
                    target,
                    scheme,
                    lines,
                    peer: peer.map(|address| address.parse().unwrap()),
                    rule: rule.map(str::to_owned),
                }
            },
        )
}

/// A request, and in most cases the wish that it present one secret of one of the keys at one of
/// the places.
pub(crate) fn presentations() -> impl Strategy<Value = (NaiveRequest, Option<(Index, Index)>)> {
    (requests(), option::weighted(0.65, any::<(Index, Index)>()))
}

/// The request, presenting what is wished for and no other secret.
pub(crate) fn presenting(
    world: &World,
    request: NaiveRequest,
    wish: Option<(Index, Index)>,
) -> NaiveRequest {
    let secrets: Vec<&NaiveSecret> = world.keys.iter().flat_map(|key| &key.secrets).collect();
    let Some((place, secret)) = wish.filter(|_| !secrets.is_empty()) else {
        return request;
    };
    let text = &secret.get(&secrets).text;
    let mut request = request;
    request.target = super::oracle::path_of(&request.target).to_vec();
    request.lines.retain(|(name, _)| {
        !["x-api-key", "authorization", "cookie"].contains(&name.to_ascii_lowercase().as_str())
    });
    let (name, value) = match place.get(&world.places) {
        NaivePlace::Header(name) => (*name, text.clone()),
        NaivePlace::Scheme(name, scheme) => (*name, format!("{scheme} {text}")),
        NaivePlace::Cookie(name) => ("cookie", format!("s=1; {name}={text}")),
        NaivePlace::Query(name) => {
            request.target.extend(format!("?x=1&{name}={text}").bytes());
            return request;
        }
    };
    request.lines.push((name.to_owned(), value));
    request
}
