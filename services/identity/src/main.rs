fn main() -> anyhow::Result<()> {
    service_kit::run(identity::service())
}
