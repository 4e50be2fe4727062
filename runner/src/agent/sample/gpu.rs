//! GPUs of the node, as NVIDIA's driver tells. Without the driver there are none, and nothing is said.

use archive::GpuSample;
use nvml_wrapper::{
    Nvml,
    enum_wrappers::device::{Clock, TemperatureSensor},
};

/// The driver, if there is one.
pub struct Gpus {
    driver: Option<Nvml>,
}

impl Gpus {
    pub fn none() -> Self {
        Self { driver: None }
    }

    pub fn find() -> Self {
        let driver = Nvml::init().map_err(|err| tracing::debug!("no GPU is sampled: {err}")).ok();
        Self { driver }
    }

    /// One entry a GPU. A figure that this GPU does not tell is absent.
    pub fn samples(&self) -> Vec<GpuSample> {
        let Some(driver) = &self.driver else { return Vec::new() };
        let sample = |index: u32| {
            let device = driver.device_by_index(index).ok()?;
            let memory = device.memory_info().ok();
            let watts = |milliwatts: u32| f64::from(milliwatts) / 1000.0;
            Some(GpuSample {
                index,
                name: device.name().unwrap_or_else(|_| "unknown".to_owned()),
                utilization_percent: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu)),
                memory_used_bytes: memory.as_ref().map(|memory| memory.used),
                memory_total_bytes: memory.as_ref().map(|memory| memory.total),
                power_w: device.power_usage().ok().map(watts),
                power_limit_w: device.enforced_power_limit().ok().map(watts),
                sm_clock_mhz: device.clock_info(Clock::SM).ok(),
                sm_clock_max_mhz: device.max_clock_info(Clock::SM).ok(),
                temperature_c: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
            })
        };
        (0..driver.device_count().unwrap_or(0)).filter_map(sample).collect()
    }
}
