"""A broker that lets in only who has a password, over TLS: every client of the platform comes in by the address alone."""

import dataclasses
import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from applied_repo import apply_definitions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from free_ports import free_port
from kafka import KafkaConsumer
from kafka.errors import KafkaError
from stream_lab import running, settings_for, store_client, transaction, until

from feature_repo import open_store
from feature_repo.kafka_address import check, client_options, hosts, secrets, spark_options
from feature_repo.settings import Settings
from stack import kafka_broker, processes, services, topics
from streaming import manifests
from streaming.produce import send_events

PASSWORD = 'secret "quoted" \\ word'
SECURED = """
listeners=SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
inter.broker.listener.name=SASL_SSL
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  username="broker" password="inside" user_broker="inside" user_me="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
"""


def write_certificate(folder: Path) -> None:
    """A key and a certificate of this host's own, which is its own authority."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])
    own = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(own, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    ).public_bytes(serialization.Encoding.PEM)
    pkcs8 = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(certificate)
    (folder / "broker.pem").write_bytes(pkcs8 + certificate)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """KAFKA_BOOTSTRAP_SERVERS of a running broker, with what it takes to be let in."""
    folder = tmp_path_factory.mktemp("secured")
    write_certificate(folder)
    settings = Settings.from_env({"DATA_DIR": str(folder / "data"), "KAFKA_PORT": str(free_port())})
    plain = kafka_broker.program(settings)

    def prepare() -> None:
        plain.prepare()
        escaped = PASSWORD.replace("\\", "\\\\").replace('"', '\\"').replace("\\", "\\\\")  # as JAAS, then as properties
        secured = SECURED.format(port=settings.kafka_port, controller=settings.kafka_port + 1, folder=folder, password=escaped)
        with (settings.data_dir / "kafka" / "server.properties").open("a") as properties:
            properties.write(secured)

    processes.start(dataclasses.replace(plain, prepare=prepare), settings.data_dir)
    try:
        processes.await_ready(plain, settings.data_dir)
        yield (
            f"127.0.0.1:{settings.kafka_port},security_protocol=SASL_SSL,sasl_mechanism=PLAIN,sasl_plain_username=me,"
            f"sasl_plain_password={PASSWORD},ssl_cafile={folder / 'ca.pem'}"
        )
    finally:
        processes.stop([plain.name], settings.data_dir)


def test_fold_and_archive_come_in_by_the_address_alone(address: str, redis_server: str, tmp_path: Path):
    settings = settings_for(address, redis_server, tmp_path)
    store_client(settings).flushdb()
    apply_definitions(settings)
    store = open_store(settings)
    topics.create_missing(address)
    count = "user_activity:event_id_count_1d"

    with running(services.fold(settings), settings), running(services.archive(settings), settings):
        sent = send_events(settings, [transaction("ada") for _ in range(5)])

        until(lambda: store.read_online([count], [{"user_id": "ada"}])[0].features["user_activity__event_id_count_1d"] == 5)
        until(lambda: sum(end + 1 for end in manifests.committed(settings.transactions_path).values()) == len(sent))

    said = (
        processes.log_path("fold", settings.data_dir).read_text() + processes.log_path("archive", settings.data_dir).read_text()
    )
    assert PASSWORD not in said


def test_who_has_another_password_is_not_let_in(address: str):
    options = client_options(address) | {"sasl_plain_password": "guess"}

    with pytest.raises(KafkaError, match=r"Unable to bootstrap|uthentication"):
        KafkaConsumer(**options, bootstrap_timeout_ms=3_000)


def test_the_hosts_may_be_printed_and_the_password_is_a_secret():
    address = "a:1,b:2,security_protocol=SASL_SSL,sasl_plain_password=p=q"

    assert hosts(address) == "a:1,b:2"
    assert secrets(address) == ["p=q"]
    assert "p=q" not in repr(Settings.from_env({"KAFKA_BOOTSTRAP_SERVERS": address}))


def test_a_plain_address_names_its_hosts_and_nothing_else():
    assert client_options("a:1,b:2") == {"bootstrap_servers": ["a:1", "b:2"]}
    assert spark_options("a:1,b:2") == {"kafka.bootstrap.servers": "a:1,b:2"}


def test_a_certificate_of_the_clients_own_goes_to_spark_as_text(tmp_path: Path):
    for name in ("cert", "key"):
        (tmp_path / name).write_text(f"the {name}")
    options = f"security_protocol=SSL,ssl_certfile={tmp_path}/cert,ssl_keyfile={tmp_path}/key,ssl_check_hostname=false"

    spark = spark_options(f"a:1,{options}")

    assert spark["kafka.ssl.keystore.certificate.chain"] == "the cert"
    assert spark["kafka.ssl.keystore.key"] == "the key"
    assert spark["kafka.ssl.endpoint.identification.algorithm"] == ""
    assert client_options(f"a:1,{options}")["ssl_check_hostname"] is False


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("security_protocol=SSL", "names no host:port"),
        ("a:1,sasl_password=x", "has an option 'sasl_password'"),
        ("a:1,sasl_mechanism=GSSAPI", "sasl_mechanism is one of PLAIN"),
        ("a:1,ssl_certfile=/x", "go together"),
    ],
)
def test_an_address_that_no_client_could_use_is_refused_without_repeating_a_value(address: str, said: str):
    with pytest.raises(ValueError, match=said) as refused:
        check(address)

    assert "=x" not in str(refused.value)
