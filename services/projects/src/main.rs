fn main() -> anyhow::Result<()> {
    service_kit::run(projects::service())
}
