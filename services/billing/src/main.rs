fn main() -> anyhow::Result<()> {
    service_kit::run(billing::service())
}
