// What the packages' schemas lack, declared here with the names and types of the projects' own API definitions.

// Envoy Gateway 1.8 added this one; the package was made from 1.7.
declare module "@kubernetes-models/envoy-gateway/gateway.envoyproxy.io/v1alpha1/ExtAuth" {
  interface IExtAuth {
    statusOnError?: number;
  }
}

// Istio's MeshConfig (istio/api, mesh/v1alpha1/config.proto, as of 1.30): not a custom resource, and in no package. Only
// the members that deploy/istio uses, so that any other name is refused: look it up there before adding it.
export interface IstiodValues {
  meshConfig: MeshConfig;
}

export interface MeshConfig {
  pathNormalization?: { normalization: "DEFAULT" | "NONE" | "BASE" | "MERGE_SLASHES" | "DECODE_AND_MERGE_SLASHES" };
  extensionProviders?: Array<ExtensionProvider>;
}

export interface ExtensionProvider {
  name: string;
  envoyExtAuthzGrpc: {
    service: string;
    port: number;
    timeout?: `${number}s` | `${number}ms`;
    failOpen?: boolean;
    clearRouteCache?: boolean;
    // A string, although it is a number.
    statusOnError?: `${number}`;
    includeRequestBodyInCheck?: { maxRequestBytes: number; allowPartialMessage?: boolean; packAsBytes?: boolean };
  };
}
