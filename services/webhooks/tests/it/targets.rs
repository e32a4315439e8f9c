//! Where webhooks may not go.

use test_kit::receiver::{Mode, Receiver};
use webhooks::domain::events::WebhookType;

use crate::bench::Bench;

async fn bench(allowed: &str) -> Bench {
    Bench::start_with(vec![("WEBHOOKS_ALLOWED_TARGETS".to_owned(), allowed.to_owned())]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_target_gets_nothing_and_the_record_says_why() {
    let bench = bench("hooks.internal").await;
    let receiver = Receiver::start(Mode::Ok);
    let port = receiver.url.rsplit_once(':').unwrap().1;
    let by_address = bench.hook(WebhookType::Organization, &receiver.url, &["create:project"]).await;
    let by_name = format!("http://localhost:{port}");
    let by_name = bench.hook(WebhookType::Organization, &by_name, &["create:project"]).await;
    bench.take(&[bench.created()]).await;
    for (hook, why) in [(by_address, "127.0.0.1 is not"), (by_name, "localhost leads to ")] {
        let recorded = bench.deliveries(hook, 1).await;
        assert_eq!((recorded[0].status_code, recorded[0].outcome.as_deref()), (502, Some("refused")));
        assert!(recorded[0].response.starts_with(why), "{}", recorded[0].response);
    }
    bench.idle().await;
    assert!(receiver.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_allow_a_name_or_a_network() {
    let bench = bench("localhost").await;
    let receiver = Receiver::start(Mode::Ok);
    let port = receiver.url.rsplit_once(':').unwrap().1;
    let by_name = format!("http://localhost:{port}");
    let by_name = bench.hook(WebhookType::Organization, &by_name, &["create:project"]).await;
    let by_address = bench.hook(WebhookType::Organization, &receiver.url, &["create:project"]).await;
    bench.take(&[bench.created()]).await;
    assert_eq!(bench.deliveries(by_name, 1).await[0].status_code, 200);
    assert_eq!(
        bench.deliveries(by_address, 1).await[0].status_code,
        502,
        "the name is allowed, not its address"
    );
}
