//! An empty index for each test, in each kind of database.

use std::{
    env,
    sync::atomic::{AtomicU32, Ordering},
};

use portal::index::Index;
use sqlx::{Connection, PgConnection};

/// Runs a test on an empty SQLite index, and on an empty PostgreSQL one if there is a server.
pub async fn on_each(mut test: impl AsyncFnMut(&Index)) {
    on_each_address(async |address| {
        let index = Index::open(address).await.unwrap();
        test(&index).await;
        index.close().await;
    })
    .await;
}

/// The same with the addresses of databases that hold nothing yet.
pub async fn on_each_address(mut test: impl AsyncFnMut(&str)) {
    let folder = tempfile::tempdir().unwrap();
    test(&format!("sqlite:{}", folder.path().join("index.db").display())).await;
    let Ok(server) = env::var("DATABASE_URL") else { return };
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("cairn_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&server).await.expect("DATABASE_URL names a server");
    admin_do(&mut admin, format!("CREATE DATABASE {name}")).await;
    let mut address = url::Url::parse(&server).unwrap();
    address.set_path(&name);
    test(address.as_str()).await;
    admin_do(&mut admin, format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

async fn admin_do(admin: &mut PgConnection, sql: String) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(admin).await.unwrap();
}
