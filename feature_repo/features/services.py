"""Which features each model uses: a model is trained and served with exactly its feature service."""

from feast import FeatureService

from feature_repo.features.device_activity import device_activity
from feature_repo.features.device_chargebacks import device_chargebacks
from feature_repo.features.market import recurring_days
from feature_repo.features.merchant_activity import merchant_activity
from feature_repo.features.merchant_chargebacks import merchant_chargebacks
from feature_repo.features.transaction_context import transaction_context
from feature_repo.features.user_activity import user_activity
from feature_repo.features.user_chargebacks import user_chargebacks
from feature_repo.features.user_device import user_device
from feature_repo.features.user_merchant import user_merchant
from feature_repo.features.user_novelty import user_novelty
from feature_repo.features.user_payments import user_payments
from feature_repo.features.user_profile import loaded_profiles

user_views = [user_activity, user_payments, user_novelty, user_chargebacks, *loaded_profiles]

account_risk_v1 = FeatureService(
    name="account_risk_v1",
    features=[*user_views],
    description="Will this user's account be used for fraud soon? Needs a user_id only.",
)
transaction_fraud_v1 = FeatureService(
    name="transaction_fraud_v1",
    features=[
        *user_views,
        merchant_activity,
        merchant_chargebacks,
        device_activity,
        device_chargebacks,
        user_merchant,
        user_device,
        *recurring_days(),
        transaction_context,
    ],
    description="Is this transaction fraud? Needs its user, merchant, device and own columns.",
)
credit_default_v1 = (
    FeatureService(
        name="credit_default_v1",
        features=[*loaded_profiles],
        description="Will this applicant fail to pay back? Needs attributes of the application.",
    )
    if loaded_profiles
    else None
)
