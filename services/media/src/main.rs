fn main() -> anyhow::Result<()> {
    service_kit::run(media::service())
}
