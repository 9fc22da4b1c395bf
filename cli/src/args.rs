//! The command line's words.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
};

use clap::{Parser, Subcommand, ValueEnum};
use evenkeel_api::Duration;
use evenkeel_proxy::admin::loopback;
use evenkeel_simulator::Entrant;
use http::Method;

/// Evenkeel's command line.
#[derive(Parser, Debug)]
#[command(name = "evenkeel", version, about = "See through a load balancer, and run one on this machine")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serve the pools of a folder of YAML files, without Kubernetes.
    Local(Local),
    /// List pools, endpoints or proxies.
    Get(Get),
    /// Show which share of the requests each endpoint takes, until Ctrl-C.
    Top(Top),
    /// Say in a few lines whether all is well; exit code 3 if it is not.
    Status(Status),
    /// Say which endpoint a request would get, and why the others would not.
    Explain(Explain),
    /// Play scenarios of a pool in simulated time; exit code 3 if what must hold does not.
    Simulate(Simulate),
}

/// `evenkeel local`.
#[derive(clap::Args, Debug)]
pub struct Local {
    /// Folder with YAML files of BalancerPools; changes take effect at once.
    #[arg(default_value = ".", value_name = "DIR")]
    pub folder: PathBuf,
    /// Where probes, metrics and lists are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub admin: SocketAddr,
    /// Where the proxy explains what would become of a request; an address of loopback.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9091", value_parser = loopback)]
    pub proxy_admin: SocketAddr,
    /// Where the listeners' ports are bound; :: takes IPv4 too.
    #[arg(long, value_name = "IP", default_value = "::")]
    pub bind: IpAddr,
    /// The port where host names select the pool; bound when a listener has one.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub shared_port: u16,
    /// Threads that serve [default: one for each core].
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// How long open requests have to end after Ctrl-C.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub grace: Duration,
}

/// Where the controller is.
#[derive(clap::Args, Debug, Clone)]
pub struct Server {
    /// Address of a controller's admin pages, such as http://127.0.0.1:9090 of `evenkeel local`. Without it: the
    /// controller that leads in the cluster of the kubeconfig; without a kubeconfig, `evenkeel local` on this machine.
    #[arg(long, env = "EVENKEEL_SERVER", global = true)]
    pub server: Option<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: Cluster,
}

/// Which cluster, and where in it.
#[derive(clap::Args, Debug, Clone)]
pub struct Cluster {
    /// kubeconfig file, in place of those that KUBECONFIG names.
    #[arg(long, global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Namespace that Evenkeel is installed in.
    #[arg(long, env = "EVENKEEL_INSTALL", default_value = "evenkeel-system", global = true)]
    pub install: String,
}

/// `evenkeel get`.
#[derive(clap::Args, Debug)]
pub struct Get {
    /// What to list.
    pub what: Kind,
    /// Only this one.
    pub name: Option<String>,
    /// Namespace of the pools.
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Pools of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// How to print.
    #[arg(short, long, default_value = "table")]
    pub output: Format,
    /// Where the controller is.
    #[command(flatten)]
    pub server: Server,
}

/// `evenkeel top`.
#[derive(clap::Args, Debug)]
pub struct Top {
    /// Time between two looks, 100ms at least.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = pace)]
    pub every: Duration,
    /// End after so many.
    #[arg(long, value_name = "N")]
    pub count: Option<u32>,
    /// Where the controller is.
    #[command(flatten)]
    pub server: Server,
}

/// `evenkeel status`.
#[derive(clap::Args, Debug)]
pub struct Status {
    /// How to print.
    #[arg(short, long, default_value = "table")]
    pub output: Format,
    /// Where the controller is.
    #[command(flatten)]
    pub server: Server,
}

/// `evenkeel explain`. Nothing is sent to an endpoint, and nothing is counted.
#[derive(clap::Args, Debug)]
pub struct Explain {
    /// Name of the pool.
    pub pool: String,
    /// Namespace of the pool.
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// Method of the request.
    #[arg(short = 'X', long, default_value = "GET")]
    pub method: Method,
    /// Path of the request, and query if any.
    #[arg(long, default_value = "/")]
    pub path: String,
    /// Host of the request.
    #[arg(long, default_value = "localhost")]
    pub host: String,
    /// Address that connects to the proxy; a client behind it is in -H x-forwarded-for:IP.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub client: IpAddr,
    /// Another field of the request; may be given several times.
    #[arg(short = 'H', long, value_name = "NAME:VALUE", value_parser = field)]
    pub header: Vec<(String, String)>,
    /// The algorithm that the request names, of those that the pool allows.
    #[arg(long, value_name = "TYPE")]
    pub algorithm: Option<String>,
    /// How to print.
    #[arg(short, long, default_value = "table")]
    pub output: Format,
    /// Pod of the proxy to ask; without it the first that has the pool.
    #[arg(long, value_name = "POD", conflicts_with = "server")]
    pub proxy: Option<String>,
    /// Address of a proxy's admin page, such as http://127.0.0.1:9091 of `evenkeel local`. Without it: a proxy of the
    /// cluster of the kubeconfig; without a kubeconfig, `evenkeel local` on this machine.
    #[arg(long)]
    pub server: Option<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: Cluster,
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME:VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// `evenkeel simulate`.
#[derive(clap::Args, Debug)]
pub struct Simulate {
    /// Files of scenarios; those of the project are in simulator/scenarios.
    #[arg(required = true, value_name = "SCENARIO.yaml")]
    pub scenarios: Vec<PathBuf>,
    /// In place of those that the scenario names; what must hold is not looked at then. Ring, Maglev and Rendezvous
    /// take /bounded, a hash function (/XxHash64, /MurmurHash3, /FNV1a, /SipHash, /MD5), or both.
    #[arg(long, value_name = "NAME")]
    pub algorithm: Vec<Entrant>,
    /// In place of the scenario's number of seeds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub seeds: Option<u32>,
    /// As the tests play it: one seed, fewer seconds, fewer variants.
    #[arg(long)]
    pub short: bool,
    /// Threads that play [default: one for each core].
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// How to print; JSON of several scenarios is one array of them.
    #[arg(short, long, default_value = "table")]
    pub output: Results,
    /// Also write charts: FILE.svg (p99 of the latency), FILE.html (all, with the figures), or a folder that gets a
    /// page for each scenario.
    #[arg(long, value_name = "PATH")]
    pub report: Option<PathBuf>,
    /// Also write the tables into this page, between its marks `<!-- simulated NAME -->` and `<!-- end -->`, and charts
    /// that it links to beside it. Only of what the scenario says, in full.
    #[arg(long, value_name = "FILE.md", conflicts_with_all = ["algorithm", "short"])]
    pub page: Option<PathBuf>,
}

/// How to print results.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Results {
    /// Columns.
    Table,
    /// Tables in Markdown.
    Markdown,
    /// JSON, for programs.
    Json,
}

/// What can be listed.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pools.
    #[value(alias = "pool", alias = "bp")]
    Pools,
    /// Endpoints.
    #[value(alias = "endpoint", alias = "ep")]
    Endpoints,
    /// Proxies.
    #[value(alias = "proxy")]
    Proxies,
}

/// How to print.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Columns.
    Table,
    /// More columns.
    Wide,
    /// JSON, for programs: its fields are stable.
    Json,
    /// The same as YAML.
    Yaml,
    /// Names only, one a line.
    Name,
}

fn pace(text: &str) -> Result<Duration, String> {
    let pace = text.parse::<Duration>().map_err(|error| error.to_string())?;
    if std::time::Duration::from(pace) < std::time::Duration::from_millis(100) {
        return Err("100ms at least".to_owned());
    }
    Ok(pace)
}
