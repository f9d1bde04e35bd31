//! Who may read the metrics, as the real API server decides it, over real TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};

use doppel::telemetry::certificate::Source;
use doppel::telemetry::metrics::Metrics;
use doppel::telemetry::scrape::{Readers, ScrapeSettings, Scrapes};

use super::faults::{Fault, Mortal};
use super::world::World;

/// Metrics that are being served.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    server: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(super) async fn serve(client: kube::Client, metrics: Metrics) -> Served {
    let settings = ScrapeSettings {
        address: "127.0.0.1:0".parse().unwrap(),
        certificate: Some(Source::SelfSigned(vec!["localhost".to_owned()])),
        readers: Readers::ByRbac,
    };
    let scrapes = Scrapes::listen(settings, metrics, client).await.unwrap();
    Served { address: scrapes.address().unwrap(), server: tokio::spawn(scrapes.serve()) }
}

/// Takes any certificate, as Prometheus does with `insecure_skip_verify`.
#[derive(Debug)]
struct AnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

async fn connect(served: &Served, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse::<IpAddr>().unwrap(), 0)).unwrap();
    socket.connect(served.address).await.unwrap()
}

/// The status and the rest of an answer.
async fn get(served: &Served, from: &str, token: Option<&str>) -> (u16, String) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config =
        config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(schemes))).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, connect(served, from).await).await.unwrap();
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{authorization}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

/// The token of a ServiceAccount of the world's.
pub(super) async fn token(world: &World, account: &str) -> String {
    world
        .create::<ServiceAccount>(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}))
        .await;
    let spec = TokenRequestSpec { audiences: vec![], expiration_seconds: Some(600), bound_object_ref: None };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let api = world.api::<ServiceAccount>();
    api.create_token_request(account, &PostParams::default(), &request).await.unwrap().status.unwrap().token
}

/// Binds the ClusterRole of `deploy/metrics.yaml`.
pub(super) async fn allow(world: &World, account: &str) {
    let documents = include_str!("../../deploy/metrics.yaml");
    let role = documents.split("---\n").find(|document| document.contains("kind: ClusterRole")).unwrap();
    let role: ClusterRole = serde_yaml_ng::from_str(role).unwrap();
    let name = role.metadata.name.clone().unwrap();
    let force = PatchParams::apply("test").force();
    Api::<ClusterRole>::all(world.client.clone()).patch(&name, &force, &Patch::Apply(&role)).await.unwrap();
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": world.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": world.namespace}]});
    let binding: ClusterRoleBinding = serde_json::from_value(binding).unwrap();
    Api::all(world.client.clone()).create(&PostParams::default(), &binding).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_those_whom_rbac_lets_read_them() {
    let world = World::new().await;
    let (reader, stranger) = (token(&world, "reader").await, token(&world, "stranger").await);
    allow(&world, "reader").await;
    let served = serve(world.client.clone(), Metrics::default()).await;
    assert_eq!(get(&served, "127.0.0.1", None).await.0, 401);
    assert_eq!(get(&served, "127.0.0.1", Some("no token of this cluster")).await.0, 401);
    let (status, answer) = get(&served, "127.0.0.1", Some(&stranger)).await;
    assert_eq!(status, 403);
    assert!(answer.contains("doppel-metrics-reader"), "says what to do: {answer}");
    // The API server's authorizer learns of a binding by a watch, and a refusal is remembered: each try is a new server's.
    let allowed = async {
        loop {
            let served = serve(world.client.clone(), Metrics::default()).await;
            let (status, answer) = get(&served, "127.0.0.1", Some(&reader)).await;
            if status == 200 {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), allowed).await.expect("the reader was never let in");
    assert!(answer.contains("application/openmetrics-text") && answer.contains("doppel_build_info"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_is_asked_once_for_many_scrapes() {
    let world = World::new().await;
    let stranger = token(&world, "stranger").await;
    let fate = Mortal::immortal();
    let served = serve(fate.client(world.config.clone()), Metrics::default()).await;
    for _ in 0..5 {
        assert_eq!(get(&served, "127.0.0.1", Some(&stranger)).await.0, 403);
    }
    assert_eq!(fate.writes(), 2, "one TokenReview and one SubjectAccessReview");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_cannot_be_asked_is_no_refusal_and_no_permission() {
    let world = World::new().await;
    let stranger = token(&world, "stranger").await;
    let served = serve(Mortal::after(0).client(world.config.clone()), Metrics::default()).await;
    assert_eq!(get(&served, "127.0.0.1", Some(&stranger)).await.0, 500);
    assert_eq!(get(&served, "127.0.0.1", None).await.0, 401, "nobody has to be asked about that");
}

/// 127.0.0.2 opens as many connections as the server has room for, and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_word_keep_nobody_away_and_do_not_last() {
    let world = World::new().await;
    let served = serve(world.client.clone(), Metrics::default()).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(connect(&served, "127.0.0.2").await);
    }
    let begin = Instant::now();
    assert_eq!(get(&served, "127.0.0.1", None).await.0, 401);
    assert!(begin.elapsed() < Duration::from_secs(5), "it had to wait for the others' deadline");
    // All of them are let go: most at once, the rest when their time for a handshake is over.
    let closed = async {
        for stream in &mut silent {
            let mut byte = [0];
            // The end of the stream, or a reset.
            assert!(!matches!(stream.read(&mut byte).await, Ok(1..)));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed).await.expect("a silent connection was kept");
}
