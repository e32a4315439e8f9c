fn main() -> anyhow::Result<()> {
    service_kit::run(gateway::service())
}
