pub fn serve(_s: crate::services::SimulatorSettings, _h: &str, _p: u16) -> anyhow::Result<()> {
    Ok(())
}
