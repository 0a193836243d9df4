//! Operations on buckets.

use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput,
    ListBucketsInput, ListBucketsOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::{Front, timestamp};
use crate::store::{catalog, now_ms};

pub(super) async fn create(
    front: &Front,
    request: S3Request<CreateBucketInput>,
) -> S3Result<CreateBucketOutput> {
    let name = request.input.bucket;
    let location = Some(format!("/{name}"));
    let is_new = front.store.write(move |rows, _| catalog::create_bucket(rows, &name, now_ms())).await?;
    if !is_new {
        return Err(s3_error!(BucketAlreadyOwnedByYou, "the bucket is there already"));
    }
    Ok(CreateBucketOutput { location })
}

pub(super) async fn delete(
    front: &Front,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<DeleteBucketOutput> {
    let name = request.input.bucket;
    front.store.write(move |rows, _| catalog::delete_bucket(rows, &name)).await?;
    Ok(DeleteBucketOutput::default())
}

pub(super) async fn head(front: &Front, request: S3Request<HeadBucketInput>) -> S3Result<HeadBucketOutput> {
    let name = request.input.bucket;
    front.store.read(move |rows| catalog::require_bucket(rows, &name)).await?;
    Ok(HeadBucketOutput { bucket_region: Some(front.origin.region.clone()), ..HeadBucketOutput::default() })
}

pub(super) async fn list(front: &Front, _: S3Request<ListBucketsInput>) -> S3Result<ListBucketsOutput> {
    let buckets = front.store.read(catalog::buckets).await?;
    let listed = buckets.into_iter().map(|(name, created_ms)| Bucket {
        name: Some(name),
        creation_date: Some(timestamp(created_ms)),
        ..Bucket::default()
    });
    Ok(ListBucketsOutput { buckets: Some(listed.collect()), ..ListBucketsOutput::default() })
}

pub(super) async fn location(
    front: &Front,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<GetBucketLocationOutput> {
    let name = request.input.bucket;
    front.store.read(move |rows| catalog::require_bucket(rows, &name)).await?;
    // The first region has no name here, as in S3.
    let region = Some(front.origin.region.clone()).filter(|region| region != "us-east-1");
    Ok(GetBucketLocationOutput { location_constraint: region.map(BucketLocationConstraint::from) })
}
