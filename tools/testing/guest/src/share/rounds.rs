// SPDX-License-Identifier: GPL-2.0
//! Steps that do the same thing many times.

use std::ops::RangeInclusive;
use std::time::Instant;

use anyhow::anyhow;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde_json::json;
use serde_json::Value;
use skiff::Adapter;
use skiff::ConnectOptions;
use skiff::LocalSegment;
use skiff::MapOptions;
use skiff::RemoteSegment;
use skiff::Removal;
use skiff::SegmentOptions;

use super::objects::Object;
use super::objects::Objects;

/// Maps, stores a number, loads it, unmaps.
fn map_once(segment: &RemoteSegment, number: u32) -> Result<()> {
    let map = segment.map(&MapOptions::new())?;
    map.store_u32(0, number)?;
    map.flush();
    let there = map.load_u32(0)?;
    ensure!(there == number, "{number} was stored, {there} is there");
    Ok(())
}

/// Does something so many times; tells microseconds.
fn rounds(count: u32, mut one: impl FnMut(u32) -> Result<()>) -> Result<Value> {
    let started = Instant::now();
    for round in 0..count {
        one(round).with_context(|| format!("round {round} of {count}"))?;
    }
    Ok(json!({ "micros": started.elapsed().as_micros() as u64 }))
}

/// So many ids from the first one up.
fn ids(first: u32, count: u32) -> Result<RangeInclusive<u32>> {
    let last = first.checked_add(count).and_then(|end| end.checked_sub(1));
    Ok(first..=last.context("ids overflow")?)
}

impl Objects {
    fn share(&self, bytes: u64, id: u32) -> Result<LocalSegment> {
        let segment = self
            .context
            .create(&SegmentOptions::new(bytes).id(id).mode(0o666))?;
        segment.prepare(Adapter::Any)?;
        segment.set_available(Adapter::Any)?;
        Ok(segment)
    }

    /// See [`super::step::Step::MapRounds`].
    pub fn map_rounds(&self, object: &str, count: u32) -> Result<Value> {
        let segment = self.remote(object)?;
        rounds(count, |round| map_once(&segment, round))
    }

    /// See [`super::step::Step::ConnectRounds`].
    pub fn connect_rounds(&self, node: u32, id: u32, count: u32) -> Result<Value> {
        rounds(count, |round| {
            let options = ConnectOptions::new();
            let segment = self.context.connect(node, id, &options)?;
            map_once(&segment, round)?;
            Ok(segment.disconnect()?)
        })
    }

    /// See [`super::step::Step::CreateRounds`].
    pub fn create_rounds(&self, bytes: u64, id: u32, count: u32) -> Result<Value> {
        rounds(count, |_| {
            Ok(self.share(bytes, id)?.remove(Removal::IfIdle)?)
        })
    }

    /// See [`super::step::Step::CreateMany`].
    pub fn create_many(&self, name: &str, bytes: u64, first: u32, count: u32) -> Result<Value> {
        let segments: Result<Vec<_>> = ids(first, count)?.map(|id| self.share(bytes, id)).collect();
        self.put(name, Object::Locals(segments?))
    }

    /// See [`super::step::Step::ConnectMany`].
    pub fn connect_many(&self, name: &str, node: u32, first: u32, count: u32) -> Result<Value> {
        let mut all = Vec::new();
        for id in ids(first, count)? {
            let options = ConnectOptions::new();
            let segment = self.context.connect(node, id, &options)?;
            let map = segment.map(&MapOptions::new())?;
            map.store_u32(0, id)?;
            all.push((segment, map));
        }
        if let Some((_, map)) = all.last() {
            map.flush();
        }
        self.put(name, Object::Remotes(all))
    }

    /// See [`super::step::Step::VerifyMany`].
    pub fn verify_many(&self, name: &str, first: u32) -> Result<Value> {
        let object = self.take(name)?;
        let found: Result<Vec<u32>> = match &object {
            Object::Locals(segments) => segments
                .iter()
                .map(|segment| Ok(segment.map(&MapOptions::new())?.load_u32(0)?))
                .collect(),
            Object::Remotes(maps) => maps.iter().map(|(_, map)| Ok(map.load_u32(0)?)).collect(),
            _ => Err(anyhow!("{name} is not many")),
        };
        for (there, id) in found?.into_iter().zip(first..) {
            ensure!(there == id, "segment {id} holds {there}");
        }
        self.put(name, object)
    }
}
