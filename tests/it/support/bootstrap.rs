//! The bootstrap that operators copy (`deploy/envoy/envoy.yaml`), adapted for a test: ports chosen
//! by the system, several listeners that differ in what a test needs, clusters that point to the
//! test's servers.

use std::net::SocketAddr;
use std::path::Path;

use serde_yaml::{Mapping, Value};

use super::keyward::Address;

/// Parses a YAML literal of a test.
pub fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

pub struct Bootstrap {
    whole: Value,
    template: Value,
    authz_template: Value,
    authz_name: String,
}

impl Bootstrap {
    /// The shipped bootstrap with its two clusters pointing to `authz` and `upstream`, and without
    /// listeners.
    pub fn new(authz: &Address, upstream: SocketAddr) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/envoy/envoy.yaml");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let mut whole = yaml(&text);
        whole["admin"]["address"] = socket("127.0.0.1:0".parse().unwrap());
        let listeners = whole["static_resources"]["listeners"].as_sequence_mut();
        let template = std::mem::take(listeners.unwrap()).remove(0);
        let mut listener = Listener(template);
        let authz_name = listener.ext_authz()["grpc_service"]["envoy_grpc"]["cluster_name"].clone();
        let authz_name = authz_name.as_str().unwrap().to_owned();
        let upstream_name = listener.routes()[0]["route"]["cluster"].clone();
        let upstream_name = upstream_name.as_str().unwrap().to_owned();
        let mut bootstrap = Self {
            whole,
            template: listener.0,
            authz_template: Value::Null,
            authz_name,
        };
        let authz_name = bootstrap.authz_name.clone();
        bootstrap.authz_template = bootstrap.cluster_mut(&authz_name).clone();
        point(
            bootstrap.cluster_mut(&authz_name),
            std::slice::from_ref(authz),
        );
        let upstream_cluster = bootstrap.cluster_mut(&upstream_name);
        point(upstream_cluster, &[Address::Tcp(upstream)]);
        // The upstream speaks both protocols, so that each caller's own arrives.
        upstream_cluster["typed_extension_protocol_options"] = yaml(
            r#"
            envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
              "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
              use_downstream_protocol_config: {http2_protocol_options: {allow_connect: true}}
            "#,
        );
        bootstrap
    }

    fn clusters(&mut self) -> &mut Vec<Value> {
        let clusters = self.whole["static_resources"]["clusters"].as_sequence_mut();
        clusters.unwrap()
    }

    fn cluster_mut(&mut self, name: &str) -> &mut Value {
        let found = self.clusters().iter_mut().find(|c| c["name"] == name);
        found.unwrap_or_else(|| panic!("the bootstrap has no cluster {name}"))
    }

    /// Adds another authorization cluster: the shipped one with other endpoints and `change`.
    pub fn authz(mut self, name: &str, to: &[Address], change: impl FnOnce(&mut Value)) -> Self {
        let mut cluster = self.authz_template.clone();
        cluster["name"] = name.into();
        cluster["load_assignment"]["cluster_name"] = name.into();
        point(&mut cluster, to);
        change(&mut cluster);
        self.clusters().push(cluster);
        self
    }

    /// Adds a listener: the shipped one with another port, name and `change`.
    pub fn listener(mut self, name: &str, change: impl FnOnce(&mut Listener)) -> Self {
        let mut listener = Listener(self.template.clone());
        listener.0["name"] = name.into();
        listener.0["address"] = socket("127.0.0.1:0".parse().unwrap());
        // So that a test finds the decision on its request in the log.
        let keep_id = "preserve_external_request_id".into();
        listener.hcm().insert(keep_id, true.into());
        change(&mut listener);
        let listeners = self.whole["static_resources"]["listeners"].as_sequence_mut();
        listeners.unwrap().push(listener.0);
        self
    }

    pub fn text(&self) -> String {
        serde_yaml::to_string(&self.whole).unwrap()
    }
}

/// One listener's configuration, with access to the parts that tests change.
pub struct Listener(Value);

impl Listener {
    pub fn hcm(&mut self) -> &mut Mapping {
        let filters = self.0["filter_chains"][0]["filters"].as_sequence_mut();
        let filters = filters.unwrap().iter_mut();
        let mut configs = filters.map(|filter| &mut filter["typed_config"]);
        let hcm = configs.find(|config| type_of(config).ends_with(".HttpConnectionManager"));
        hcm.unwrap().as_mapping_mut().unwrap()
    }

    pub fn filters(&mut self) -> &mut Vec<Value> {
        self.hcm()["http_filters"].as_sequence_mut().unwrap()
    }

    pub fn ext_authz(&mut self) -> &mut Value {
        let mut configs = self.filters().iter_mut().map(|f| &mut f["typed_config"]);
        configs
            .find(|config| type_of(config).ends_with(".ExtAuthz"))
            .unwrap()
    }

    /// The first virtual host.
    pub fn virtual_host(&mut self) -> &mut Value {
        &mut self.hcm()["route_config"]["virtual_hosts"][0]
    }

    /// The routes of the first virtual host.
    pub fn routes(&mut self) -> &mut Vec<Value> {
        self.virtual_host()["routes"].as_sequence_mut().unwrap()
    }

    /// Adds a route like the shipped one before it, with another `match` and per-filter settings
    /// for `ext_authz`.
    pub fn route(&mut self, matching: &str, per_route: &str) {
        let mut route = self.routes()[0].clone();
        route["match"] = yaml(matching);
        if !per_route.is_empty() {
            let mut settings = yaml(per_route);
            settings["@type"] =
                "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
                    .into();
            let name = self.ext_authz_name();
            route["typed_per_filter_config"][name.as_str()] = settings;
        }
        self.routes().insert(0, route);
    }

    fn ext_authz_name(&mut self) -> String {
        let is_ext_authz = |f: &&Value| type_of(&f["typed_config"]).ends_with(".ExtAuthz");
        let found = self.filters().iter().find(is_ext_authz).unwrap();
        found["name"].as_str().unwrap().to_owned()
    }

    /// Asks another cluster.
    pub fn asks(&mut self, cluster: &str) {
        self.ext_authz()["grpc_service"]["envoy_grpc"]["cluster_name"] = cluster.into();
    }

    pub fn raw_headers(&mut self) {
        self.ext_authz()["encode_raw_headers"] = true.into();
    }

    /// Removes the filter that removes identity headers before `ext_authz`: what then passes,
    /// keyward let pass.
    pub fn without_header_mutation(&mut self) {
        self.filters()
            .retain(|f| !type_of(&f["typed_config"]).ends_with(".HeaderMutation"));
    }

    pub fn without_cors(&mut self) {
        self.filters()
            .retain(|f| !type_of(&f["typed_config"]).ends_with(".Cors"));
        let host = self.virtual_host().as_mapping_mut().unwrap();
        host.remove("typed_per_filter_config");
    }

    /// Lets requests through as clients wrote them: headers, paths, hosts and underscores
    /// unchanged.
    pub fn unprotected(&mut self) {
        self.without_header_mutation();
        self.without_cors();
        let ext_authz = self.ext_authz().as_mapping_mut().unwrap();
        ext_authz.remove("allowed_headers");
        let hcm = self.hcm();
        for name in [
            "strip_any_host_port",
            "strip_trailing_host_dot",
            "normalize_path",
            "merge_slashes",
            "path_with_escaped_slashes_action",
            "early_header_mutation_extensions",
        ] {
            hcm.remove(name);
        }
        let options = &mut hcm["common_http_protocol_options"];
        options["headers_with_underscores_action"] = "ALLOW".into();
    }

    /// Envoy considers callers on loopback internal, and leaves their x-envoy-* headers unchanged.
    pub fn treat_loopback_as_internal(&mut self) {
        let cidr = yaml("{cidr_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]}");
        self.hcm().insert("internal_address_config".into(), cidr);
    }

    /// Lets CONNECT and websocket upgrades through to the upstream.
    pub fn upgrades(&mut self) {
        let hcm = self.hcm();
        hcm.insert(
            "upgrade_configs".into(),
            yaml("[{upgrade_type: websocket}, {upgrade_type: CONNECT}]"),
        );
        hcm.insert(
            "http2_protocol_options".into(),
            yaml("{allow_connect: true}"),
        );
        self.route("{connect_matcher: {}}", "");
    }

    /// Writes one line of JSON per request, with the dynamic metadata of `ext_authz`.
    pub fn access_log(&mut self, path: &Path) {
        let mut log = yaml(
            r#"
            - name: envoy.access_loggers.file
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
                log_format:
                  json_format:
                    keyward: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:keyward)%"
                    details: "%RESPONSE_CODE_DETAILS%"
            "#,
        );
        log[0]["typed_config"]["path"] = path.to_str().unwrap().into();
        self.hcm().insert("access_log".into(), log);
    }
}

fn type_of(config: &Value) -> &str {
    config["@type"].as_str().unwrap_or_default()
}

fn socket(address: SocketAddr) -> Value {
    yaml(&format!(
        "{{socket_address: {{address: {}, port_value: {}}}}}",
        address.ip(),
        address.port()
    ))
}

/// Makes `to` the endpoints of a cluster.
fn point(cluster: &mut Value, to: &[Address]) {
    let endpoints = to.iter().map(|address| {
        let address = match address {
            Address::Tcp(address) => socket(*address),
            Address::Unix(path) => yaml(&format!("{{pipe: {{path: \"{}\"}}}}", path.display())),
        };
        let mut endpoint = yaml("{endpoint: {}}");
        endpoint["endpoint"]["address"] = address;
        endpoint
    });
    let endpoints: Vec<Value> = endpoints.collect();
    cluster["type"] = "STATIC".into();
    cluster["load_assignment"]["endpoints"] = yaml("[{}]");
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] = endpoints.into();
}
