fn main() -> anyhow::Result<()> {
    service_kit::run(analytics::service())
}
