//! The tenant of whoever never heard of tenants.

use contracts::TenantId;

/// The tenant that every deployment starts with: version 5 of `default` in the namespace of the nil UUID.
pub const DEFAULT_TENANT: TenantId =
    TenantId(uuid::Uuid::from_u128(0xc383_e082_c957_5d44_8307_64f6_67cb_0347));
/// Its name.
pub const DEFAULT_TENANT_NAME: &str = "default";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_tenant_has_a_well_known_id() {
        let expected = uuid::Uuid::new_v5(&uuid::Uuid::nil(), DEFAULT_TENANT_NAME.as_bytes());
        assert_eq!(DEFAULT_TENANT.0, expected);
    }
}
