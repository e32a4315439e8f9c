//! The one place that makes HTTP clients: with time limits, without redirects, without the environment's
//! proxies.

use std::time::Duration;

/// The TLS provider of the whole process; called before the first client or server.
pub fn install_tls_provider() {
    // A second call finds it installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A builder with our rules.
#[expect(clippy::disallowed_methods, reason = "this is where clients are made")]
pub fn builder() -> reqwest::ClientBuilder {
    install_tls_provider();
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(3))
        .pool_idle_timeout(Duration::from_secs(60))
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
}

/// A client for the mesh; each call sets its own total time.
///
/// # Errors
/// When the TLS back end cannot be set up.
pub fn mesh_client() -> anyhow::Result<reqwest::Client> {
    Ok(builder().timeout(Duration::from_secs(10)).build()?)
}
