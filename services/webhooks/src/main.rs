fn main() -> anyhow::Result<()> {
    service_kit::run(webhooks::service())
}
