//! A long random run: two operators at once, restarted now and then, whose watches lag behind ([`watches`]), work on objects that
//! users make, change and delete, while between any two of their requests others act, requests are refused, and answers are lost.
//! After every step it is checked on the API server that nothing is wrong ([`invariants`]).
//!
//! Every hundred steps it becomes calm: the watches of an operator as it runs in a cluster, cut and told that they are too old
//! over and over, bring everything to its end; then everything is deleted, and nothing may be left.
//!
//! The API server is a real one, without a kubelet and without controllers. What those write is written by [`cluster`], as
//! honestly as is needed here: it says what it stands in for.
//!
//! One seed gives one sequence of throws. What these meet also depends on how fast the API server answers, so that a seed finds
//! again most of what it found, and not everything.

mod calm;
mod chaos;
mod cluster;
mod collector;
mod dice;
mod invariants;
mod nodes;
mod people;
mod state;
mod watches;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser as _;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use tokio::sync::watch;

use doppel::args::{Command, OperatorArgs, Typed};
use doppel::model::pod::MoverImage;
use doppel::model::policy::Policy;
use doppel::operator::client::builder;
use doppel::population;
use doppel::replication::queue::Queue;
use doppel::replication::{self, Context};
use doppel::telemetry::events::Events;
use doppel::telemetry::metrics::Metrics;

use self::chaos::{Chaos, Mode};
use self::cluster::Cluster;
use self::dice::Dice;
use self::invariants::Invariants;
use self::state::State;
use self::watches::Watches;
use super::faults::Fault;
use super::server::Alone;

/// Steps of `make test`. DOPPEL_RANDOM_STEPS gives another number, DOPPEL_RANDOM_SEED another run.
const STEPS: u64 = 300;
const SEED: u64 = 20_261_129;
/// Steps between two calms.
const STORM: u64 = 100;
/// How long a calm may take. It takes seconds.
const CALM: Duration = Duration::from_secs(90);

/// What an operator is asked to look at: in each namespace a pair of replications, and claims that are filled from its image.
const OBJECTS: [(&str, &str); 4] = [
    ("ReplicationSource", "a"),
    ("ReplicationDestination", "a"),
    ("PersistentVolumeClaim", "p"),
    ("PersistentVolumeClaim", "q"),
];

#[test]
fn whatever_happens_in_whatever_order_no_invariant_is_broken() {
    let run = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(run());
    // Passes are interrupted by passes here, on one stack, and without optimisation each takes much of it.
    let run = std::thread::Builder::new().stack_size(16 << 20).spawn(run).unwrap();
    if let Err(panic) = run.join() {
        std::panic::resume_unwind(panic);
    }
}

async fn run() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (seed, steps) = (number("DOPPEL_RANDOM_SEED", SEED), number("DOPPEL_RANDOM_STEPS", STEPS));
    let server = Alone::up("random");
    let stage = Stage::new(&server, seed).await;
    let begin = Instant::now();
    for step in 1..=steps {
        stage.step().await;
        stage.check(seed, step).await;
        if step % STORM == 0 || step == steps {
            stage.calm(&server, seed, step).await;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!("{steps} steps of seed {seed} in {seconds:.0} s: {}", stage.cluster.lock().await.summary());
}

/// All that acts.
struct Stage {
    config: kube::Config,
    namespaces: [String; 2],
    dice: Mutex<Dice>,
    cluster: tokio::sync::Mutex<Cluster>,
    operators: Mutex<[Operator; 2]>,
    /// Which of them was last told to pass.
    acting: AtomicUsize,
    is_interrupted: AtomicBool,
    invariants: Mutex<Invariants>,
    history: Mutex<Vec<String>>,
}

#[derive(Clone)]
struct Operator {
    client: kube::Client,
    replication: Arc<Context>,
    population: Arc<population::Context>,
    chaos: Chaos,
    watches: Arc<Watches>,
}

impl Operator {
    fn start(config: &kube::Config, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let chaos = Chaos::new(dice.throw());
        let client = chaos.client(config.clone());
        let image = MoverImage {
            reference: "mover:1".to_owned(),
            namespace: "default".to_owned(),
            pull_secrets: Vec::new(),
            proxies: Vec::new(),
        };
        let events = Events::new(client.clone(), "random".to_owned());
        let (queue, _) = Queue::new(Policy::default(), Metrics::default());
        let context = Context::new(client.clone(), image.clone(), events.clone(), (Metrics::default(), queue));
        let context = Arc::new(context);
        let population = population::Context::new(client.clone(), image, events);
        let watches = Watches::start(&builder(config.clone()).unwrap().build(), &context, &mut dice);
        Self { client, replication: context, population: Arc::new(population), chaos, watches: Arc::new(watches) }
    }
}

impl Stage {
    async fn new(server: &Alone, seed: u64) -> Arc<Self> {
        let config = server.config().await;
        let mut dice = Dice::new(seed);
        let namespaces = ["random-1".to_owned(), "random-2".to_owned()];
        let cluster = Cluster::new(server.client().await, namespaces.clone(), dice.throw()).await;
        let operators = [Operator::start(&config, dice.throw()), Operator::start(&config, dice.throw())];
        let stage = Arc::new(Self {
            config,
            namespaces,
            dice: Mutex::new(dice),
            cluster: tokio::sync::Mutex::new(cluster),
            operators: Mutex::new(operators),
            acting: AtomicUsize::new(0),
            is_interrupted: AtomicBool::new(false),
            invariants: Mutex::default(),
            history: Mutex::default(),
        });
        for operator in &*stage.operators.lock().unwrap() {
            operator.chaos.on(&stage);
        }
        stage
    }

    /// Something happens, and operators look at something.
    async fn step(self: &Arc<Self>) {
        if self.below(20) == 0 {
            self.restart();
        }
        self.act().await;
        for _ in 0..2 {
            let which = self.below(2);
            self.acting.store(which, Ordering::SeqCst);
            self.pass(which).await;
        }
    }

    /// Something happens between two requests of an operator, and nothing in between of that.
    async fn interrupt(self: Arc<Self>) {
        if self.is_interrupted.swap(true, Ordering::SeqCst) {
            return;
        }
        self.note("... meanwhile");
        // Now and then the operator is held up for long.
        let acts = if self.below(8) == 0 { 30 } else { 1 + self.below(3) };
        for _ in 0..acts {
            if self.below(4) == 0 {
                self.pass(1 - self.acting.load(Ordering::SeqCst)).await;
            } else {
                self.act().await;
            }
        }
        self.note("... goes on");
        self.is_interrupted.store(false, Ordering::SeqCst);
    }

    async fn act(&self) {
        let told = self.cluster.lock().await.act().await;
        self.note(&told);
    }

    /// One pass of this operator over one object.
    async fn pass(&self, which: usize) {
        let operator = self.operators.lock().unwrap()[which].clone();
        let namespace = &self.namespaces[self.below(2)];
        let (kind, name) = OBJECTS[self.below(OBJECTS.len())];
        self.note(&format!("operator {which} passes {kind} {namespace}/{name}"));
        operator.chaos.work_in(Some(namespace));
        let namespaced = (namespace.clone(), name.to_owned());
        match kind {
            "ReplicationSource" => {
                let told = operator.watches.sources.lock().unwrap().get(&namespaced).cloned();
                if let Some(object) = told {
                    let _ = replication::reconcile(object, operator.replication).await;
                }
            }
            "ReplicationDestination" => {
                let told = operator.watches.destinations.lock().unwrap().get(&namespaced).cloned();
                if let Some(object) = told {
                    let _ = replication::reconcile(object, operator.replication).await;
                }
            }
            _ => {
                let mut claim = PersistentVolumeClaim::default();
                (claim.metadata.namespace, claim.metadata.name) = (Some(namespaced.0), Some(namespaced.1));
                let _ = population::reconcile(Arc::new(claim), operator.population).await;
            }
        }
        // Requests that a pass did not wait for are given up, or on their way, when this one is answered: they go in a line.
        let _ = operator.client.apiserver_version().await;
    }

    /// An operator forgets all that it knew.
    fn restart(self: &Arc<Self>) {
        let which = self.below(2);
        let operator = Operator::start(&self.config, self.dice.lock().unwrap().throw());
        operator.chaos.on(self);
        let former = std::mem::replace(&mut self.operators.lock().unwrap()[which], operator);
        self.invariants.lock().unwrap().note_trespasses(former.chaos.trespasses());
        self.note(&format!("operator {which} is restarted"));
    }

    /// Fails if an invariant is broken.
    async fn check(&self, seed: u64, step: u64) {
        let mut cluster = self.cluster.lock().await;
        cluster.notice().await;
        let state = State::read(&cluster.client).await;
        let mut invariants = self.invariants.lock().unwrap();
        for operator in &*self.operators.lock().unwrap() {
            invariants.note_trespasses(operator.chaos.trespasses());
        }
        let broken = invariants.check(&state, &cluster);
        let history = self.history.lock().unwrap();
        let latest = history[history.len().saturating_sub(600)..].join("\n  ");
        let there = state.lines();
        assert!(
            broken.is_empty(),
            "seed {seed}, step {step}: {broken:#?}\nwhat happened before:\n  {latest}\nthere are {there:#?}"
        );
    }

    /// Users put right what they did and want one synchronization more; everything comes to its end; everything is deleted.
    async fn calm(self: &Arc<Self>, server: &Alone, seed: u64, step: u64) {
        self.note("it becomes calm");
        self.cluster.lock().await.put_right().await;
        let chaos = Chaos::new(seed.wrapping_add(step));
        chaos.set(Mode::Cuts);
        let (stop, stopped) = watch::channel(false);
        chaos.on(self);
        let client = chaos.client(server.config().await);
        let args = operator_args();
        let mut controllers = tokio::spawn(async move {
            doppel::operator::controllers(client, &args, Metrics::default(), stopped).await;
        });
        self.until(seed, step, "everything is synchronized", async |cluster| cluster.unsettled().await).await;
        self.cluster.lock().await.delete_everything().await;
        self.until(seed, step, "nothing is left", async |cluster| cluster.left_over().await).await;
        stop.send_replace(true);
        // As the program itself ends: one whose watches have not begun does not (`DRAIN` in src/operator.rs).
        match tokio::time::timeout(Duration::from_secs(2), &mut controllers).await {
            Ok(ended) => ended.unwrap(),
            Err(_) => controllers.abort(),
        }
        self.invariants.lock().unwrap().forget();
    }

    /// Lets the cluster act until nothing is missing.
    async fn until(&self, seed: u64, step: u64, what: &str, missing: impl AsyncFn(&mut Cluster) -> Vec<String>) {
        let (begin, mut looks, mut slowest) = (Instant::now(), 0, Duration::ZERO);
        loop {
            let look = Instant::now();
            self.cluster.lock().await.act_calmly().await;
            self.cluster.lock().await.clear_the_way().await;
            self.check(seed, step).await;
            let missing = missing(&mut *self.cluster.lock().await).await;
            if missing.is_empty() {
                return;
            }
            (looks, slowest) = (looks + 1, slowest.max(look.elapsed()));
            if begin.elapsed() >= CALM {
                let there = State::read(&self.cluster.lock().await.client).await.lines();
                panic!(
                    "seed {seed}, calm after step {step}, until {what}: {missing:#?}\n\
                     {looks} looks, the slowest took {slowest:?}; there are {there:#?}"
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn below(&self, bound: usize) -> usize {
        self.dice.lock().unwrap().below(bound)
    }

    fn note(&self, what: &str) {
        self.history.lock().unwrap().push(format!("{} {what}", jiff::Timestamp::now()));
    }
}

fn operator_args() -> OperatorArgs {
    match Typed::parse_from(["doppel", "operator", "--mover-image", "mover:1", "--identity", "calm"]).command {
        Command::Operator(args) => *args,
        Command::Crds => unreachable!("it was told to operate"),
    }
}
